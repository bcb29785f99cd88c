"""Installations: what a finished link leaves behind: user, integration, credentials and child workflows."""

"""Integrations: what a link installs, declared in a file by the vendor's engineer."""

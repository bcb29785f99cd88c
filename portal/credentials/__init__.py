"""Credentials: one user's secret values for one app, tested before they are kept, sealed at rest."""

"""Operators: people at the vendor who sign in to the dashboard."""

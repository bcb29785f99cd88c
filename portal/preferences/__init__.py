"""Preferences: settings that administrators change on the dashboard; what they save wins over the environment."""

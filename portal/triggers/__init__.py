"""Triggers: what children begin with. Polls and schedules are watched here, webhooks of apps arrive here."""

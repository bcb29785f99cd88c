"""The dashboard: what the vendor's operators see and do. Every page wants a session, and a role (`access`)."""

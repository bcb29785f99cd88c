"""Idempotency: a call that creates something, sent twice with the same key, happens once and is answered the same."""

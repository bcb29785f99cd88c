"""Security: what outsiders check us by."""

"""API keys: the secrets of the vendor's backend. The environment goes with the key."""

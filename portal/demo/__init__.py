"""The demo: what `make run` sets up and keeps running on one machine."""

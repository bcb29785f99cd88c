"""The application that servers and `flask` load."""

from portal import create_app

app = create_app()

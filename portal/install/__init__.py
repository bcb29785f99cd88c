"""The install page, the one face that end users see."""

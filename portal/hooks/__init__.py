"""Where apps send their webhooks: an address for each child, of which a part can't be guessed."""

"""The portal's own keys: what seals credentials, signs links and signs webhooks; how they are made and rotated."""

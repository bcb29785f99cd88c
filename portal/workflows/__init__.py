"""Workflows: the vendor's published, versioned parents and the child copies that installations make of them."""

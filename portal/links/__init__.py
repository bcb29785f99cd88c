"""Install links: one signed, expiring, single-use URL for one user and one integration."""

"""What the site's owner sees of the money. For staff only."""

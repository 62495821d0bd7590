"""The shop: what visitors, readers and agents see. It imports publishers and payments; neither imports it."""

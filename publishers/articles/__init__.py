"""Articles: how they are written, checked, rendered and found. No price is decided here."""

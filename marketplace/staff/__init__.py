"""Finance pages, for staff only."""

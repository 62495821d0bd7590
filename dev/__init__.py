"""What `dev.py` does: sets the project up and runs it. Standard library only, and nothing in the product imports it."""

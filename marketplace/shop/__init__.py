"""Selling: the article and its representations, the paywall and its buttons, and the pages around them."""

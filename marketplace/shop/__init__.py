"""Selling: the article and its representations, the paywall and its buttons, and the catalogue pages."""

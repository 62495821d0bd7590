"""Addresses for programs alone: JSON in, JSON out, and no page."""

"""Addresses for agents alone: JSON in, JSON out, and no page."""

"""Endpoints for machines. They serve JSON and no pages."""

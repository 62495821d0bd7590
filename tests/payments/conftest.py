"""What only PostgreSQL can show (roles, two writers at once) is skipped elsewhere, and says so."""

import pytest
from django.db import connection


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name of the database, what this one has no means for."""
    if connection.vendor == "postgresql":
        return
    elsewhere = pytest.mark.skip(reason=f"needs PostgreSQL, and this run is on {connection.vendor}")
    for item in items:
        if item.get_closest_marker("postgresql"):
            item.add_marker(elsewhere)

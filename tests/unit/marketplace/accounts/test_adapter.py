"""The hooks of signing in."""

import pytest
from django.test import RequestFactory

from marketplace.accounts.adapter import AccountAdapter


@pytest.mark.parametrize(
    ("address", "counted"), [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
)
def test_attempts_are_counted_by_address_or_by_network_of_version_six(address: str, counted: str):
    request = RequestFactory().get("/", REMOTE_ADDR=address)
    assert AccountAdapter(request).get_client_ip(request) == counted

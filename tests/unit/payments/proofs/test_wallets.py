"""A wallet's signature of the page it wants to read again: what is no such proof opens nothing."""

import base64
import json

import pytest
from django.test import Client

from tests import cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("broken", [{"nonce": "\ud800" * 8}, {"issuedAt": "\ud800"}])
def test_a_wallet_proof_of_broken_text_opens_nothing(broken: dict[str, str]):
    owls = cast.article(cast.publication(cast.person("alice")))
    fields = {"domain": "localhost", "address": "0x" + "11" * 20, "uri": owls.url, "version": "1", "type": "eip191"}
    fields |= {"chainId": "eip155:84532", "nonce": "a" * 32, "issuedAt": "2026-11-21T00:00:00Z"}
    proof = base64.b64encode(json.dumps(fields | {"signature": "0x" + "11" * 65} | broken).encode()).decode()
    assert Client().get(f"/articles/{owls.slug}.md", headers={"SIGN-IN-WITH-X": proof}).status_code == 402

"""The API for agents: what a key may still spend, told to its bearer alone; and an article as JSON."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from payments.purses import api_keys
from tests import buyers, cast

from .api_keys import STRANGE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]


def ask(text: str, address: str = "/api/purse", method: str = "get"):
    return getattr(Client(), method)(address, headers={"Authorization": f"Bearer {text}"})


def test_a_key_learns_its_balance_its_limits_and_what_it_bought():
    purse = buyers.purse(1_000_000, tab=500_000)
    text = buyers.key(purse, budget_micros=300_000, day_budget_micros=100_000, payees=("publisher:7",))
    buyers.present(text, buyers.offer(1))
    buyers.press(purse, buyers.offer(2))
    answer = ask(text)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "private, no-store")
    said = answer.json()
    assert (said["currency"], said["balance"], said["available"]) == ("USD", 900_000, 1_400_000)
    key = said["key"]
    assert (key["budget"], key["budget_left"], key["day_budget"], key["day_budget_left"]) == (
        300_000, 250_000, 100_000, 50_000,
    )  # fmt: skip
    assert (key["price_ceiling"], key["approve_above"], key["expires_at"]) == (None, None, None)
    assert (key["publications"], key["spent"], key["id"]) == (["publisher:7"], 50_000, text.rpartition("_")[0])
    (bought,) = said["purchases"]
    assert (bought["resource"], bought["title"], bought["amount"]) == ("article:1", "Article 1", 50_000)
    assert text not in answer.content.decode()


def test_a_frozen_purse_has_nothing_to_spend():
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse)
    type(purse).objects.update(flag="dispute")
    assert (ask(text).json()["balance"], ask(text).json()["available"]) == (1_000_000, 0)


@pytest.mark.parametrize("sent", [*STRANGE, "Basic cmVhZGVyOnNlY3JldA==", ""])
def test_without_a_live_key_it_is_401_with_the_word(sent):
    answer = Client().get("/api/purse", headers={"Authorization": sent} if sent else {})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_key")
    assert answer["WWW-Authenticate"].startswith("Bearer ")
    assert answer["Cache-Control"] == "private, no-store"


def test_a_dead_key_and_a_session_learn_nothing():
    reader = cast.person("reader")
    purse = buyers.purse(1_000_000, holder=f"user:{reader.pk}")
    text, old = buyers.key(purse), buyers.key(purse, expires_at=timezone.now() - timedelta(seconds=1))
    api_keys.revoke(purse.keys.get(public=text.split("_")[1]))
    assert {ask(text).status_code, ask(old).status_code} == {401}
    assert cast.signed_in(reader).get("/api/purse").status_code == 401


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_is_for_reading(method):
    assert ask(buyers.key(buyers.purse()), method=method).status_code == 405


def test_an_article_is_bought_at_the_api_too():
    slug = cast.article(cast.publication(cast.person("alice"))).slug
    purse = buyers.purse(1_000_000)
    text = buyers.key(purse)
    assert Client().get(f"/api/articles/{slug}").status_code == 402
    bought = ask(text, f"/api/articles/{slug}")
    assert (bought.status_code, bought["Cache-Control"]) == (200, "private, no-store")
    assert "canary7731" in bought.json()["markdown"]
    assert ask(text, f"/articles/{slug}.json").json() == bought.json()
    purse.refresh_from_db()
    assert purse.balance_micros == 950_000


def test_an_expiry_is_a_moment_in_utc():
    ends = timezone.now().replace(microsecond=0) + timedelta(days=1)
    text = buyers.key(buyers.purse(), expires_at=ends)
    assert ask(text).json()["key"]["expires_at"] == ends.isoformat().replace("+00:00", "Z")

"""The pages of a person's agents: a key shown once, limits in dollars, and nothing of anybody else's."""

import html
import os
import re
import subprocess
import sys
import uuid
from typing import Any

import pytest
from django.test import Client

from marketplace.accounts.models import User
from payments import gate
from payments.models import ApiKey, Approval, Purse
from payments.purses import api_keys, approvals
from tests import buyers, cast

from .api_keys import everything, shown

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("cards_on")]
KEY = re.compile(r"pp_[A-Za-z0-9]{12}_[A-Za-z0-9]{32}")


@pytest.fixture
def reader() -> User:
    return cast.person("reader")


@pytest.fixture
def browser(reader: User) -> Client:
    return cast.signed_in(reader)


def purse_of(reader: User, micros: int = 0) -> Purse:
    return buyers.purse(micros, owner=f"user:{reader.pk}")


def key_of(reader: User, micros: int = 0, **limits: Any) -> tuple[ApiKey, str]:
    text = buyers.key(purse_of(reader, micros), **limits)
    return ApiKey.objects.get(public=text.split("_")[1]), text


def page(browser: Client, address: str, status: int = 200) -> str:
    answer = browser.get(address)
    assert answer.status_code == status, (address, answer.status_code)
    if status == 200:
        assert "no-store" in answer["Cache-Control"]
        assert "private" in answer["Cache-Control"]
    return html.unescape(answer.content.decode())


def typed(**changes: Any) -> dict[str, Any]:
    """What the empty form holds, changed."""
    fields = {"form": str(uuid.uuid4()), "name": "Crow", "day_budget": "1.00", "budget": "10.00", "ceiling": "0.50"}
    return {**fields, "approve_above": "", "last_day": "", **changes}


def made(browser: Client, **changes: Any) -> tuple[str, str]:
    """Make a key: its text, and the page it was on."""
    answer = browser.post("/purse/keys", typed(**changes))
    assert answer.status_code == 200
    shown_once = html.unescape(answer.content.decode())
    texts = set(KEY.findall(shown_once))
    assert len(texts) == 1, shown_once
    assert "no-store" in answer["Cache-Control"]
    return texts.pop(), shown_once


# --- Making a key -----------------------------------------------------------------------------------------


def test_a_guest_is_asked_to_sign_in_and_comes_back():
    for address in ("/purse/keys", "/purse/approvals", f"/purse/approvals/{uuid.uuid4()}"):
        answer = Client().get(address)
        assert answer.status_code == 302
        assert answer["Location"] == f"/accounts/login/?next={address}"
    assert Client().post("/purse/keys", typed()).status_code == 302
    assert not ApiKey.objects.exists()


def test_without_cards_there_are_no_such_pages(browser, settings):
    settings.STRIPE_SECRET_KEY = ""
    for address in ("/purse/keys", "/purse/approvals", "/api/purse"):
        assert browser.get(address).status_code == 404


def test_who_has_none_is_told_what_an_agent_is_for(browser):
    said = page(browser, "/purse/keys")
    assert "You have no API keys yet" in said
    assert 'value="10.00"' in said
    assert not Purse.objects.exists()


def test_a_key_is_shown_once_and_kept_nowhere(browser, reader, caplog):
    text, shown_once = made(browser, name="Crow")
    assert "We show it only once" in shown_once
    secret = text.rpartition("_")[2]
    key = ApiKey.objects.get()
    mine = ("/purse/keys", f"/purse/keys/{key.pk}", f"/purse/keys/{key.pk}/revoke", "/purse", "/library")
    later = [page(browser, address) for address in mine]
    assert secret not in browser.get("/").content.decode()
    assert all(secret not in one for one in later)
    assert key.public in later[0]
    assert secret not in everything()
    assert secret not in caplog.text
    assert secret not in str(browser.cookies)
    assert key.purse.owner == f"user:{reader.pk}"


def test_the_form_sent_twice_makes_one_key_and_says_so(browser):
    fields = typed()
    assert KEY.search(browser.post("/purse/keys", fields).content.decode())
    again = browser.post("/purse/keys", fields)
    assert (again.status_code, again["Location"]) == (303, "/purse/keys")
    said = page(browser, "/purse/keys")
    assert not KEY.search(said)
    assert "This key was already created" in said
    assert ApiKey.objects.count() == 1


def test_dollars_become_limits(browser):
    owls = cast.article(cast.publication(cast.person("alice")))
    payee = f"publisher:{owls.publication_id}"
    made(browser, day_budget="0.50", budget="$2", ceiling="0.001", approve_above="0", publications=[payee],
         last_day="2099-12-31")  # fmt: skip
    key = ApiKey.objects.get()
    limits = (key.day_budget_micros, key.budget_micros, key.ceiling_micros, key.approve_above_micros)
    assert limits == (500_000, 2_000_000, 1_000, 0)
    assert key.payees == [payee]
    assert key.expires_at.isoformat() == "2100-01-01T00:00:00+00:00"


def test_what_is_left_empty_is_no_limit(browser):
    made(browser, day_budget="", budget=" ", ceiling="")
    key = ApiKey.objects.get()
    assert api_keys.Limits() == api_keys.Limits(
        key.day_budget_micros, key.budget_micros, key.ceiling_micros, key.approve_above_micros, tuple(key.payees),
        key.expires_at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"budget": "ten"}, "Enter an amount in dollars"),
        ({"budget": "1,50"}, "Enter an amount in dollars"),
        ({"budget": "-1"}, "Enter an amount in dollars"),
        ({"budget": "1e3"}, "Enter an amount in dollars"),
        ({"budget": "٣"}, "Enter an amount in dollars"),
        ({"budget": "0.0000001"}, "Enter an amount in dollars"),
        ({"budget": "0"}, "The minimum is $0.001"),
        ({"budget": "100000.01"}, "The maximum is $100,000.00"),
        ({"budget": "9" * 41}, "at most 40 characters"),
        ({"day_budget": "x"}, "Enter an amount in dollars"),
        ({"name": ""}, "This field is required"),
        ({"name": "\u200b"}, "Enter a name with visible characters"),
        ({"name": "\x00"}, "Null characters are not allowed"),
        ({"name": "x" * 61}, "at most 60 characters"),
        ({"last_day": "2020-01-01"}, "This day has passed"),
        ({"last_day": "9999-12-31"}, "Choose an earlier day"),
        ({"last_day": "tomorrow"}, "Enter a valid date"),
        ({"publications": ["publisher:999"]}, "Select a valid choice"),
        ({"publications": ["everything"]}, "Select a valid choice"),
        ({"form": "x"}, "Enter a valid UUID"),
    ],
)
def test_a_mistake_is_named_and_everything_typed_is_kept(browser, wrong, says):
    cast.article(cast.publication(cast.person("alice")))
    answer = browser.post("/purse/keys", typed(ceiling="0.77", **wrong))
    said = html.unescape(answer.content.decode())
    assert answer.status_code == 200
    assert says in said
    assert 'value="0.77"' in said
    assert not ApiKey.objects.exists()


def test_a_name_is_shown_as_it_is_and_never_as_markup(browser):
    made(browser, name="<script>alert(1)</script>")
    said = browser.get("/purse/keys").content.decode()
    assert "<script>alert" not in said
    assert "&lt;script&gt;alert(1)" in said


def test_the_examples_beside_a_new_key_buy(browser, reader, live_server, settings):
    settings.BASE_URL = live_server.url
    purse = purse_of(reader, 1_000_000)
    cast.article(cast.publication(cast.person("alice")))
    _, shown_once = made(browser)
    curl, python = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", shown_once, re.DOTALL)
    direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run([sys.executable, "-"], input=python, env=direct, capture_output=True, text=True, timeout=60)
    assert "canary7731" in done.stdout, done.stderr
    words = re.fullmatch(r'curl -H "(Authorization: Bearer \S+)" (http://\S+/articles/\S+\.md)', curl)
    assert words
    again = subprocess.run(
        ["curl", "-s", "--noproxy", "*", "-H", words[1], words[2]], capture_output=True, text=True, timeout=60
    )
    assert again.stdout == done.stdout.removesuffix("\n")
    purse.refresh_from_db()
    assert purse.balance_micros == 950_000


# --- Looking, changing and revoking -----------------------------------------------------------------------


def test_the_page_says_what_was_spent_and_what_each_key_may(browser, reader):
    purse = purse_of(reader, 1_000_000)
    text = buyers.key(purse, day_budget_micros=200_000, budget_micros=500_000, approve_above_micros=100_000)
    buyers.present(text, buyers.offer(1))
    buyers.present(text, buyers.offer(2))
    said = page(browser, "/purse/keys")
    assert "$0.10 of $0.20" in said
    assert "$0.10 of $0.50" in said
    assert 'max="200000" value="100000"' in said
    assert "Needed above $0.10" in said
    one = page(browser, f"/purse/keys/{purse.keys.get().pk}")
    assert "Article 1" in one
    assert "Article 2" in one


def test_limits_are_changed_and_hold_at_once(browser, reader):
    key, text = key_of(reader, 1_000_000, budget_micros=1_000_000, payees=("publisher:7",))
    address = f"/purse/keys/{key.pk}"
    answer = browser.post(address, typed(name="Raven", budget="0.04", day_budget="", ceiling=""))
    assert (answer.status_code, answer["Location"]) == (303, address)
    key.refresh_from_db()
    assert (key.name, key.budget_micros, key.day_budget_micros, key.payees) == ("Raven", 40_000, None, [])
    with pytest.raises(gate.PaymentRequired):
        buyers.present(text, buyers.offer())
    assert "The new limits apply" in page(browser, address)


def test_a_budget_below_what_is_spent_is_refused_in_words(browser, reader):
    key, text = key_of(reader, 1_000_000)
    buyers.present(text, buyers.offer())
    answer = browser.post(f"/purse/keys/{key.pk}", typed(budget="0.01"))
    assert "Enter a higher budget" in html.unescape(answer.content.decode())
    key.refresh_from_db()
    assert key.budget_micros is None


def test_revoking_asks_first_then_is_for_ever(browser, reader):
    address = cast.article(cast.publication(cast.person("alice"))).get_absolute_url()
    key, text = key_of(reader, 1_000_000)
    assert "You can't undo this" in page(browser, f"/purse/keys/{key.pk}/revoke")
    assert shown(address, text).status_code == 200
    assert browser.post(f"/purse/keys/{key.pk}/revoke").status_code == 303
    assert shown(address, text).status_code == 402
    said = page(browser, "/purse/keys")
    assert "Expired and revoked keys (1)" in said
    browser.post(f"/purse/keys/{key.pk}", typed())
    key.refresh_from_db()
    assert key.revoked_at
    assert key.name == "reader"


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("where", ["", "/revoke"])
@pytest.mark.parametrize("has_purse", [True, False])
def test_another_persons_key_is_not_there(browser, reader, where, method, has_purse):
    if has_purse:
        purse_of(reader)
    key, _ = key_of(cast.person("stranger"))
    answer = getattr(browser, method)(f"/purse/keys/{key.pk}{where}", typed())
    assert answer.status_code == 404
    key.refresh_from_db()
    assert key.revoked_at is None
    assert key.name == "reader"
    assert "Expired and revoked keys" not in page(browser, "/purse/keys")
    assert key.public not in page(browser, "/purse/keys")


def test_a_form_of_another_site_changes_nothing(reader):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(reader)
    key, _ = key_of(reader)
    for address in ("/purse/keys", f"/purse/keys/{key.pk}", f"/purse/keys/{key.pk}/revoke"):
        assert strict.post(address, typed()).status_code == 403
    assert ApiKey.objects.get().revoked_at is None


# --- Approvals --------------------------------------------------------------------------------------------


@pytest.fixture
def asked(reader: User) -> Approval:
    """Something dearer than the agent may buy unasked; on sale."""
    owls = cast.article(cast.publication(cast.person("alice")))
    _, text = key_of(reader, 1_000_000, approve_above_micros=10_000)
    answer = shown(owls.get_absolute_url(), text)
    assert answer.status_code == 402
    said = answer.json()
    found = Approval.objects.get()
    assert (said["error"], said["approve_at"]) == ("approval_required", approvals.url(found.pk))
    found.text, found.address = text, owls.get_absolute_url()
    return found


def where(found: Approval) -> str:
    return f"/purse/approvals/{found.pk}"


def test_one_click_approves_and_the_agents_retry_buys(browser, asked):
    assert "1 purchase</a> is waiting for your approval" in page(browser, "/purse/keys")
    assert "Approve $0.05" in page(browser, "/purse/approvals")
    assert "Approve $0.05" in page(browser, where(asked))
    assert browser.post(where(asked), {"answer": "yes", "micros": "50000"}).status_code == 303
    assert "Approved. The agent buys the article" in page(browser, "/purse/approvals")
    assert shown(asked.address, asked.text).status_code == 200
    assert "has bought the article" in page(browser, where(asked))
    assert browser.post(where(asked), {"answer": "no"}).status_code == 303
    assert Approval.objects.get().state == "used"


def test_no_is_told_to_the_agent_and_can_become_yes(browser, asked):
    browser.post(where(asked), {"answer": "no"})
    assert shown(asked.address, asked.text).json()["error"] == "approval_declined"
    assert "Approve $0.05 after all" in page(browser, where(asked))
    browser.post(where(asked), {"answer": "yes", "micros": "50000"})
    assert shown(asked.address, asked.text).status_code == 200


def test_a_yes_can_be_taken_back_until_it_is_used(browser, asked):
    browser.post(where(asked), {"answer": "yes", "micros": "50000"})
    assert "Withdraw approval" in page(browser, where(asked))
    browser.post(where(asked), {"answer": "no"})
    assert shown(asked.address, asked.text).status_code == 402


@pytest.mark.parametrize("micros", ["49999", "50001", "", "x", "-1", "٣", "9" * 30])
def test_a_yes_to_another_price_than_was_shown_is_none(browser, asked, micros):
    browser.post(where(asked), {"answer": "yes", "micros": micros})
    assert Approval.objects.get().state == "asked"
    assert "This request has changed" in page(browser, "/purse/approvals")


def test_another_persons_question_is_not_there(asked):
    stranger = cast.person("stranger")
    purse_of(stranger)
    for browser in (cast.signed_in(stranger), cast.signed_in(cast.person("poor"))):
        assert browser.get(where(asked)).status_code == 404
        assert browser.post(where(asked), {"answer": "yes", "micros": "50000"}).status_code == 404
        assert "Owls" not in page(browser, "/purse/approvals")
    assert Approval.objects.get().state == "asked"


def test_what_is_no_longer_sold_or_asked_by_a_dead_key_is_not_offered(browser, asked):
    from publishers.articles import writing
    from publishers.models import Article

    writing.withdraw(Article.objects.get())
    assert "This article is no longer for sale" in page(browser, where(asked))
    assert "Approve $" not in page(browser, "/purse/approvals")
    api_keys.revoke(asked.key)
    assert "key has ended" in page(browser, where(asked))
    assert "Nothing is waiting" in page(browser, "/purse/approvals")


def test_who_was_never_asked_reads_what_this_page_is_for(browser):
    assert "Nothing is waiting" in page(browser, "/purse/approvals")

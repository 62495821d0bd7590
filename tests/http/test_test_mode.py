"""Play money is called play money: by a banner on every page, and by a badge on every row and receipt."""

import re

import pytest
from django.template.loader import render_to_string
from django.test import Client

from payments.models import ApiKey, Debit
from publishers.articles import catalogue
from tests import buyers, cast
from tests.visitor import HTML, owls, reader

pytestmark = pytest.mark.django_db
BADGE = '<span class="badge warn">Test</span>'
TEST_KEY, LIVE_KEY = "sk_test_of_the_tests", "sk_live_of_the_tests"
BASE, BASE_SEPOLIA = 8453, 84532


@pytest.fixture
def mode(settings):
    """The shop with this key of the card processor, if any, on this chain, if any."""

    def switch(key, chain_id, stand_in=False):
        settings.STRIPE_SECRET_KEY, settings.STRIPE_STAND_IN = key, stand_in
        settings.CHAIN_RPC_URL = "http://127.0.0.1:1" if chain_id else ""
        settings.PAY_TO, settings.CHAIN_ID = "0x000000000000000000000000000000000000dEaD", chain_id or BASE_SEPOLIA

    yield switch
    settings.CHAIN_RPC_URL = ""  # The audit after each test does not look for this node.


@pytest.mark.parametrize(
    ("key", "chain_id", "stand_in", "banner"),
    [
        (TEST_KEY, BASE_SEPOLIA, False, "Test mode: cards and wallets pay with play money."),
        (TEST_KEY, BASE, False, "Test mode: cards pay with play money."),
        (TEST_KEY, None, False, "Test mode: cards pay with play money."),
        ("rk_test_restricted", None, False, "Test mode: cards pay with play money."),
        ("anything", BASE, True, "Test mode: cards pay with play money."),
        (LIVE_KEY, BASE_SEPOLIA, False, "Test mode: wallets pay with play money."),
        ("", 31337, False, "Test mode: wallets pay with play money."),
        (LIVE_KEY, BASE, False, ""),
        (LIVE_KEY, None, False, ""),
        ("", 999_999, False, ""),
    ],
)
def test_every_page_says_who_pays_with_play_money(mode, key, chain_id, stand_in, banner):
    root = cast.staff()
    lantern = cast.publication(root)
    article = cast.article(lantern)
    mode(key, chain_id, stand_in)
    boss = cast.signed_in(root)
    pages = [
        boss.get(path, headers=HTML).content.decode()
        for path in ("/admin/", "/finance/earnings", f"/studio/{lantern.slug}")
    ]
    for path in ("/", "/about", article.get_absolute_url(), "/library", "/accounts/login/", "/no-such-page"):
        pages.append(Client().get(path, headers=HTML).content.decode())
    pages += [render_to_string(f"{number}.html") for number in (500, 503)]
    for page in pages:
        assert re.findall(r'<p class="test-mode">([^<]+)</p>', page) == ([banner] if banner else [])


@pytest.mark.parametrize(("key", "badges"), [(TEST_KEY, True), (LIVE_KEY, False)])
def test_every_purchase_from_a_balance_has_a_badge(mode, key, badges):
    mode(TEST_KEY, None)
    visitor, purse, _ = reader(1_000_000)
    article = owls()
    visitor.press(article.get_absolute_url(), f"{article.get_absolute_url()}/buy", seen=402)
    bats = catalogue.listing(cast.article(article.publication, "Bats").pk)
    buyers.present(buyers.key(purse), bats.offer("agents", mime_type="text/markdown"))
    grant = Debit.objects.get(key=None).payment.grants.get()
    pages = {
        f"/receipts/{grant.pk}": 1,
        "/library": 2,
        "/purse": 3,
        f"/purse/keys/{ApiKey.objects.get().pk}": 1,
    }
    mode(key, None)
    for path, many in pages.items():
        assert visitor.see(path).count(BADGE) == (many if badges else 0), path
    studio, publisher = f"/studio/{article.publication.slug}", cast.signed_in(article.publication.members.get())
    for path, many in {"": 2, "/sales": 2, f"/sales/{grant.payment_id}": 1, "/balance": 2}.items():
        assert publisher.get(f"{studio}{path}").content.decode().count(BADGE) == (many if badges else 0), path


@pytest.mark.parametrize(("chain_id", "badges"), [(BASE_SEPOLIA, True), (BASE, False)])
def test_every_purchase_with_a_wallet_has_a_badge_of_its_own_network(mode, chain_id, badges):
    """Cards are in test mode here, and their badge is none of a wallet's purchase."""
    mode(TEST_KEY, chain_id)
    article = owls()
    payment = cast.sale(article, "people")
    studio, publisher = f"/studio/{article.publication.slug}", cast.signed_in(article.publication.members.get())
    for path in (studio, f"{studio}/sales", f"{studio}/sales/{payment.pk}", f"{studio}/balance"):
        assert publisher.get(path).content.decode().count(BADGE) == badges, path

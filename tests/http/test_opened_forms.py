"""A browser that opens the address of a form is led to a page: no address of the site answers it with 405."""

import uuid

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from tests import cast
from tests.project.test_content_policy import names
from tests.visitor import HTML

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cards_on")]
SOME = uuid.UUID(int=7)
VALUES = {
    **dict.fromkeys(["slug", "publication"], "the-lantern"),
    **dict.fromkeys(["article_id", "payment_id", "charge_id", "setup_id", "key_id", "approval_id", "grant_id"], SOME),
    **dict.fromkeys(["card_id", "number", "pk", "id", "content_type_id"], 7),
    **{"suffix": "", "who": "buyer", "uidb36": "1", "key": "set-password", "app_label": "payments", "object_id": "7"},
}
PAGES = {
    "/purse/top-up": "/purse",
    "/purse/tab": "/purse",
    "/purse/cards": "/purse",
    "/purse/cards/7": "/purse",
    "/purse/withdraw": "/purse",
    "/purse/join": "/purse",
    f"/purse/refund/{SOME}": "/purse",
    "/webhooks/stripe": "/",
}


def every_address() -> dict[str, str]:
    return {
        name: reverse(name, kwargs={word: VALUES[word] for word in takes})
        for name, takes in names(get_resolver().url_patterns)
    }


def test_no_address_refuses_a_browser_that_opens_it():
    browser = cast.signed_in(cast.staff())
    for name, address in every_address().items():
        if name.endswith("logout"):
            continue
        answer = browser.get(address, headers=HTML)
        assert answer.status_code != 405, address
        if answer.status_code == 303:
            assert address.startswith(answer["Location"].rstrip("/")), address


@pytest.mark.parametrize(("address", "page"), PAGES.items())
def test_the_address_of_a_form_leads_to_its_page(address, page):
    answer = Client().get(address, headers=HTML, follow=True)
    assert answer.status_code == 200
    assert {status for _, status in answer.redirect_chain} == {303}
    assert answer.redirect_chain[-1][0] == page


def test_the_forms_of_an_article_lead_to_the_article():
    lantern = cast.publication(cast.person("alice"))
    article, browser = cast.article(lantern), cast.signed_in(lantern.members.get())
    studio = f"/studio/{lantern.slug}/articles"
    for address, page in {
        f"{studio}/{article.pk}/publish": f"{studio}/{article.pk}",
        f"{studio}/{article.pk}/withdraw": f"{studio}/{article.pk}",
        f"{studio}/preview": studio,
    }.items():
        answer = browser.get(address, headers=HTML, follow=True)
        assert (answer.status_code, answer.redirect_chain) == (200, [(page, 303)])
    for verb in ("buy", "pay"):
        answer = browser.get(f"{article.get_absolute_url()}/{verb}", headers=HTML)
        assert (answer.status_code, answer["Location"]) == (303, article.get_absolute_url())


def test_agents_are_told_that_the_method_is_wrong_and_forms_still_work():
    assert Client().get("/purse/top-up").status_code == 405
    assert Client().get("/purse/top-up", headers={"Accept": "application/json"}).status_code == 405
    assert Client().put("/purse", headers=HTML).status_code == 405

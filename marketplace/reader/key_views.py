"""A person's API keys, their limits, and the approvals that agents wait for.

Every view shows the signed-in person's own keys only. The text of a key is in one response, the one that created it.
"""

import uuid
from collections.abc import Iterable

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from payments.models import ApiKey, Approval, Debit
from payments.money import MICROS
from payments.purses import PurseRefused, api_keys, approvals
from publishers.models import Article, Publication, publication_id_of

from .card_pages import TO_WHAT_IS_SAID, SeeOther, with_cards
from .key_forms import KeyForm, NewKeyForm
from .purse import open_purse, purse_of

_SHOWN = 50


@require_http_methods(["GET", "HEAD", "POST"])
@with_cards
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """List the keys with their spending and offer a form for another. A POST creates a key and shows it once."""
    form = NewKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and (answer := _made(request, form)):
        return answer
    purse = purse_of(request)
    keys = list(ApiKey.objects.filter(purse=purse).order_by("-made_at", "-id")) if purse else []
    context = {
        "form": form,
        "live": [_spending(key) for key in keys if api_keys.is_live(key)],
        "dead": [key for key in keys if not api_keys.is_live(key)][:_SHOWN],
        "waiting": approvals.waiting(purse).count() if purse else 0,
        "purse": purse,
    }
    return render(request, "reader/keys.html", context)


def _made(request: HttpRequest, form: NewKeyForm) -> HttpResponse | None:
    """The only page that shows the key. None if the key was refused; the form then says why."""
    purse = open_purse(request)
    limits = form.limits()
    try:
        key, text = api_keys.make(purse, form.cleaned_data["name"], limits, form.cleaned_data["form"])
    except PurseRefused as no:
        if no.word == "key_made_already":
            messages.error(request, no.sentence)
            return SeeOther(request.path)
        form.add_error(None, no.sentence)
        return None
    context = {"key": key, "text": text, "url": f"{_example(limits.payees)}.md", "purse": purse}
    context["api_url"] = f"{settings.BASE_URL}/api/purse"
    return render(request, "reader/keys_made.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@with_cards
@login_required
def detail(request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
    """One key: edit its limits, and see what it has bought."""
    key = _own(request, key_id)
    form = KeyForm.of(key, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            api_keys.change(key, form.cleaned_data["name"], form.limits())
        except PurseRefused as no:
            form.add_error("budget" if no.word == "budget_below_spent" else None, no.sentence)
        else:
            messages.success(request, "Saved. The new limits apply at once.")
            return SeeOther(request.path)
    bought = Debit.objects.filter(key=key).select_related("payment").order_by("-payment__decided_at")[:_SHOWN]
    context = {"form": form, "spending": _spending(key), "key": key, "bought": bought}
    context["is_live"] = api_keys.is_live(key)
    context["publications"] = _names(key.payees)
    return render(request, "reader/keys_one.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@with_cards
@login_required
def revoke(request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
    """Ask for confirmation, then revoke the key for good."""
    key = _own(request, key_id)
    if request.method == "POST":
        api_keys.revoke(key)
        messages.success(request, f"The API key for “{key.name}” is revoked. It no longer works.")
        return SeeOther(redirect("keys").url)
    return render(request, "reader/keys_revoke.html", {"key": key})


@require_safe
@with_cards
@login_required
def waiting(request: HttpRequest) -> HttpResponse:
    """Pending approvals, and past ones."""
    purse = purse_of(request)
    asked = list(approvals.waiting(purse)) if purse else []
    done = (
        list(approvals.of(purse).exclude(pk__in=[a.pk for a in asked]).order_by("-asked_at")[:_SHOWN]) if purse else []
    )
    context = {"asked": _on_sale(asked), "done": _on_sale(done)}
    return render(request, "reader/approvals.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@with_cards
@login_required
def approval(request: HttpRequest, approval_id: uuid.UUID) -> HttpResponse:
    """One approval request, at the URL that the agent's 402 names. One click approves or declines it."""
    purse = purse_of(request)
    found = get_object_or_404(approvals.of(purse), pk=approval_id) if purse else None
    if found is None:
        raise Http404
    if request.method == "POST":
        _answer(request, found)
        page = request.path if request.POST.get("back") == "one" else redirect("approvals").url
        return SeeOther(f"{page}{TO_WHAT_IS_SAID}")
    ((one, sold),) = _on_sale([found])
    return render(
        request, "reader/approvals_one.html", {"one": one, "sold": sold, "is_live": api_keys.is_live(one.key)}
    )


def _answer(request: HttpRequest, found: Approval) -> None:
    seen = request.POST.get("micros", "")
    if request.POST.get("answer") == "no":
        said = approvals.decline(found) and "Declined. The agent will be told when it next requests the article."
    elif request.POST.get("answer") == "yes" and seen.isascii() and seen.isdigit() and len(seen) < 19:
        said = approvals.approve(found, int(seen)) and "Approved. The agent buys the article when it next requests it."
    else:
        said = False
    if said:
        messages.success(request, said)
    else:
        messages.error(request, "This request has changed. Review it and answer again. You have not been charged.")


# --- What the pages show ----------------------------------------------------------------------------------


def _own(request: HttpRequest, key_id: uuid.UUID) -> ApiKey:
    """Return this person's key. Any other key raises Http404."""
    purse = purse_of(request)
    if purse is None:
        raise Http404
    return get_object_or_404(ApiKey, pk=key_id, purse=purse)


def _spending(key: ApiKey) -> dict[str, object]:
    return {"key": key, "today_micros": api_keys.spent_today(key)}


def _on_sale(asked: list[Approval]) -> list[tuple[Approval, bool]]:
    """Pair each approval with whether its article is still for sale."""
    ids = [one.resource.removeprefix("article:") for one in asked]
    selling = Article.objects.on_sale().filter(pk__in=[pk for pk in ids if _is_uuid(pk)])
    known = {article.resource for article in selling}
    return [(one, one.resource in known) for one in asked]


def _is_uuid(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


def _names(payees: Iterable[str]) -> QuerySet[Publication]:
    return Publication.objects.filter(pk__in=[publication_id_of(payee) for payee in payees])


def _example(payees: tuple[str, ...]) -> str:
    """The URL of the cheapest article that the key may buy, up to one dollar."""
    cheap = Article.objects.on_sale().filter(agent_price_micros__lte=MICROS)
    if payees:
        cheap = cheap.filter(publication__in=_names(payees))
    article = cheap.order_by("agent_price_micros").first()
    return article.url if article else f"{settings.BASE_URL}/articles/an-article"

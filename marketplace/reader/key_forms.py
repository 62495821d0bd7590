"""Forms for an agent's API key. Amounts are entered in dollars and cleaned to whole micros."""

import datetime
import uuid
from typing import Any

from django import forms
from django.utils import timezone

from payments.models import ApiKey
from payments.money import MICROS, MIN_PRICE_MICROS, dollars, format_usd, parse_usd
from payments.purses.api_keys import Limits
from publishers.articles.manuscript import one_line
from publishers.models import Article, Publication, publication_id_of

_MOST = 100_000 * MICROS
_NUMBER = "Enter an amount in dollars, such as 0.05."


class DollarsField(forms.CharField):
    """An amount as a decimal string. Empty means no limit."""

    def __init__(self, least_micros: int = MIN_PRICE_MICROS, **options: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(max_length=40, required=False, widget=widget, **options)
        self.least_micros = least_micros

    def clean(self, value: Any) -> int | None:
        """Return micros, or None for an empty field. Invalid amounts raise ValidationError."""
        text = super().clean(value).removeprefix("$").strip()
        if not text:
            return None
        try:
            micros = parse_usd(text)
        except ValueError as wrong:
            raise forms.ValidationError(_NUMBER) from wrong
        if micros < self.least_micros:
            raise forms.ValidationError(
                f"The minimum is {dollars(self.least_micros)}. Leave the field empty for no limit."
            )
        if micros > _MOST:
            raise forms.ValidationError(f"The maximum is {dollars(_MOST)}. Leave the field empty for no limit.")
        return micros


class KeyForm(forms.Form):
    """A key's name and limits. An empty limit means no limit, and the page says so."""

    name = forms.CharField(
        max_length=60, help_text="Only you see it: what the agent does or where it runs.", label="Agent name"
    )
    day_budget = DollarsField(label="Daily budget", help_text="Days begin at midnight UTC.")
    budget = DollarsField(label="Total budget", help_text="When it is spent, the key stops buying.")
    ceiling = DollarsField(label="Maximum per article")
    approve_above = DollarsField(
        least_micros=0,
        label="Ask for approval above",
        help_text="More expensive articles wait for your approval. Enter 0 to approve every purchase.",
    )
    publications = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Allowed publications",
        help_text="Select none to allow all publications.",
    )
    last_day = forms.DateField(
        required=False,
        label="Last day",
        help_text="The key expires at the end of this day, UTC.",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def __init__(self, data: Any = None, *, chosen: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(data, **{"label_suffix": "", **options})
        self.fields["publications"].choices = _publications(chosen)  # type: ignore[attr-defined]

    @classmethod
    def of(cls, key: ApiKey, data: Any = None) -> "KeyForm":
        """The form for an existing key."""
        initial = {
            "name": key.name,
            "day_budget": _written(key.day_budget_micros),
            "budget": _written(key.budget_micros),
            "ceiling": _written(key.ceiling_micros),
            "approve_above": _written(key.approve_above_micros),
            "publications": key.payees,
            "last_day": key.expires_at and (key.expires_at - datetime.timedelta(microseconds=1)).date(),
        }
        return cls(data, chosen=tuple(key.payees), initial=initial)

    def clean_name(self) -> str:
        """Normalize to one line without invisible characters."""
        name = one_line(self.cleaned_data["name"])
        if not name:
            raise forms.ValidationError("Enter a name with visible characters.")
        return name

    def clean_last_day(self) -> datetime.date | None:
        """The last day is today or later."""
        last = self.cleaned_data["last_day"]
        if last and last < timezone.now().date():
            raise forms.ValidationError("This day has passed. Choose a later day, or leave the field empty.")
        if last and last.year > 9000:
            raise forms.ValidationError("Choose an earlier day, or leave the field empty.")
        return last

    def limits(self) -> Limits:
        """The limits of a valid form."""
        clean, last = self.cleaned_data, self.cleaned_data["last_day"]
        midnight = last and datetime.datetime.combine(
            last + datetime.timedelta(days=1), datetime.time.min, datetime.UTC
        )
        return Limits(
            day_budget_micros=clean["day_budget"],
            budget_micros=clean["budget"],
            ceiling_micros=clean["ceiling"],
            approve_above_micros=clean["approve_above"],
            payees=tuple(clean["publications"]),
            expires_at=midnight or None,
        )


class NewKeyForm(KeyForm):
    """A new key. The hidden `form` id makes submission idempotent: sent twice, the form creates one key."""

    field_order = ["form", "name"]
    form = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, data: Any = None, **options: Any) -> None:
        careful = {"form": uuid.uuid4(), "day_budget": "1.00", "budget": "10.00", "ceiling": "0.50"}
        super().__init__(data, initial=careful, **options)


def _written(micros: int | None) -> str:
    return "" if micros is None else format_usd(micros)


def _publications(chosen: tuple[str, ...]) -> list[tuple[str, str]]:
    """Publications with an article for sale, and those already chosen."""
    selling = Article.objects.on_sale().order_by().values("publication_id")
    rows = Publication.objects.filter(pk__in=selling) | Publication.objects.filter(
        pk__in=[publication_id_of(payee) for payee in chosen]
    )
    return [(row.payee, row.name) for row in rows.order_by("name", "pk")]

"""Forms for publishers. A rejected form keeps everything the publisher typed."""

import datetime
import uuid
import zoneinfo
from typing import Any, ClassVar

from django import forms

from payments.money import MAX_PRICE_MICROS, MIN_PRICE_MICROS, dollars
from publishers.articles import manuscript, writing

from . import pricing
from .models import AGENTS, PEOPLE, SLUG_MAX, SUMMARY_MAX, TITLE_MAX, Publication

_ZONES = sorted(zone for zone in zoneinfo.available_timezones() if "/" in zone and not zone.startswith("Etc/"))
_BOUNDS = f"Between {dollars(MIN_PRICE_MICROS)} and {dollars(MAX_PRICE_MICROS)}."


class _WithoutColons:
    """Drops the colon after labels, which stand above their fields."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **options})


class PublicationForm(_WithoutColons, forms.ModelForm):
    """A publication's name, description and time zone."""

    time_zone = forms.ChoiceField(
        choices=[("UTC", "UTC"), *((zone, zone.replace("_", " ")) for zone in _ZONES)],
        initial="UTC",
        help_text="Times in the studio and days in your reports use this zone.",
    )

    class Meta:
        model = Publication
        fields = ["name", "description", "time_zone"]
        help_texts = {"description": "Optional. One sentence for readers who don't know your publication."}

    def clean_name(self) -> str:
        """Normalize to one line without invisible characters."""
        name = manuscript.one_line(self.cleaned_data["name"])
        if not name:
            raise forms.ValidationError("Enter a name with visible characters.")
        return name

    def clean_description(self) -> str:
        """Normalize to one line without invisible characters."""
        return manuscript.one_line(self.cleaned_data["description"])


class PriceField(forms.CharField):
    """A price as a decimal string, cleaned to whole micros."""

    def __init__(self, *, keeps: str, **options: Any) -> None:
        """`keeps` names the element in which the editor's script shows the publisher's share of this price."""
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "data-keeps": keeps})
        super().__init__(max_length=40, widget=widget, **options)

    def clean(self, value: Any) -> int:
        """Return micros. An invalid price raises ValidationError with a sentence for the publisher."""
        try:
            return pricing.parse_price(super().clean(value))
        except ValueError as wrong:
            raise forms.ValidationError(str(wrong)) from wrong

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the text as entered."""
        return str(initial or "") != str(data or "")


class TextForm(_WithoutColons, forms.Form):
    """Title and Markdown: enough for a preview."""

    title = forms.CharField(max_length=TITLE_MAX)
    summary = forms.CharField(
        max_length=SUMMARY_MAX,
        required=False,
        help_text="Optional. One or two sentences that help people and agents decide whether to buy.",
    )
    markdown = forms.CharField(
        label="Text",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "true"}),
        help_text=(
            "Markdown. The line &lt;!-- paywall --&gt; ends the free preview. Without it the first paragraph is free, "
            "up to a fifth of the text. Images become links, and HTML is shown as text."
        ),
    )
    note = forms.CharField(
        label="What changed",
        max_length=200,
        required=False,
        help_text="Optional. For your version history. Readers don't see it.",
    )

    def clean_title(self) -> str:
        """Normalize to one line without invisible characters."""
        title = manuscript.one_line(self.cleaned_data["title"])
        if not title:
            raise forms.ValidationError("Enter a title with visible characters.")
        return title

    def clean(self) -> dict[str, Any]:
        """Render the text once; `draft` in the cleaned data is ready to save."""
        data = super().clean() or {}
        if "markdown" in data and "title" in data:
            try:
                data["draft"] = writing.draft(
                    data["title"], data["markdown"], data.get("summary", ""), data.get("note", "")
                )
            except manuscript.NotPrintable as refused:
                self.add_error("markdown", str(refused))
        return data


class ArticleForm(TextForm):
    """A whole article: text, address and both prices, with the versions that the page was opened on."""

    people_price = PriceField(
        keeps="keeps-people", label="Price for people, in US dollars", help_text=f"For the web page. {_BOUNDS}"
    )
    agent_price = PriceField(
        keeps="keeps-agents",
        label="Price for agents, in US dollars",
        help_text=f"For Markdown and JSON. {_BOUNDS}",
    )
    slug = forms.RegexField(
        r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*\Z",
        label="Address",
        max_length=SLUG_MAX,
        required=False,
        error_messages={"invalid": "Use letters from a to z, digits and single hyphens."},
        help_text="The last part of the article's address. We create it from the title if you leave it empty.",
    )
    base = forms.IntegerField(min_value=0, max_value=2**31 - 1, widget=forms.HiddenInput)
    people_was = forms.IntegerField(min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)
    agent_was = forms.IntegerField(min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput)

    field_order = ["title", "slug", "summary", "markdown", "people_price", "agent_price", "note"]

    def __init__(self, *args: Any, new: bool = False, fixed_address: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        if new:
            for name in ("note", "base", "people_was", "agent_was"):
                del self.fields[name]
        if fixed_address:
            del self.fields["slug"]

    def clean_slug(self) -> str:
        """Convert the address to lower case."""
        return self.cleaned_data["slug"].lower()

    @property
    def prices(self) -> writing.Prices:
        """Both prices of a valid form."""
        return writing.Prices(self.cleaned_data["people_price"], self.cleaned_data["agent_price"])

    @property
    def opened(self) -> writing.Opened:
        """The versions the author edited: the text's version number and the ids of both price versions."""
        data = self.cleaned_data
        return writing.Opened(data["base"], data["people_was"], data["agent_was"])


class _Day(forms.DateField):
    """An optional day of a filter."""

    default_error_messages: ClassVar = {"invalid": "This is not a date. Dates look like 2026-11-28."}

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, widget=forms.DateInput(attrs={"type": "date"}), **options)

    def validate(self, value: Any) -> None:
        """A year that nobody means is a slip, and one at the edge of the calendar has no midnight in every zone."""
        super().validate(value)
        if value and not 2000 <= value.year < 2200:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")


class SalesFilter(_WithoutColons, forms.Form):
    """Which sales to show. The page and its CSV file take the same parameters."""

    audience = forms.ChoiceField(
        label="Sold to",
        required=False,
        choices=[("", "Everyone"), (PEOPLE, "People"), (AGENTS, "Agents")],
    )
    since = _Day(label="From")
    until = _Day(label="To")
    article = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        """Refuse a period that ends before it begins."""
        data = super().clean() or {}
        if data.get("since") and data.get("until") and data["since"] > data["until"]:
            self.add_error("until", "The last day is before the first.")
        return data

    def narrow(self, zone: zoneinfo.ZoneInfo) -> dict[str, Any]:
        """A valid filter as conditions on a payment. Days are days in `zone`."""
        data = self.cleaned_data
        conditions: dict[str, Any] = {}
        if data.get("audience"):
            conditions["audience"] = data["audience"]
        if data.get("since"):
            conditions["decided_at__gte"] = _midnight(data["since"], zone)
        if data.get("until"):
            conditions["decided_at__lt"] = _midnight(data["until"] + datetime.timedelta(days=1), zone)
        if isinstance(data.get("article"), uuid.UUID):
            conditions["resource"] = f"article:{data['article']}"
        return conditions


def _midnight(day: datetime.date, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time.min, tzinfo=zone)

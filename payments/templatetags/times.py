"""Moments on pages: in the publication's zone or in the browser's, and in UTC on hover."""

import datetime
import zoneinfo

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html

register = template.Library()
_FORMATS = {
    "long": "j F Y, H:i",
    "short": "j M Y, H:i",
    "seconds": "j M Y, H:i:s",
    "day": "j F Y",
    "short-day": "j M Y",
}


@register.simple_tag
def moment(at: datetime.datetime | None, style: str = "long", zone: str = "") -> str:
    """A moment as a <time>. With `zone`, in that zone. Without, in the browser's, which the current time zone of the
    request is (marketplace/ops/zone.py); on the first visit in UTC, until marketplace/times.js shows the browser's.
    "short" is for tables, whose caption names the zone.
    """
    if at is None:
        return ""
    utc = at.astimezone(datetime.UTC)
    hover = f"{date_format(utc, 'j F Y, H:i:s')} UTC"
    text = date_format(at.astimezone(zoneinfo.ZoneInfo(zone or _here())), _FORMATS[style])
    if zone:
        return format_html('<time datetime="{}" title="{}">{}</time>', utc.isoformat(), hover, text)
    text += " UTC" if style == "long" and _here() == "UTC" else ""
    return format_html('<time datetime="{}" title="{}" data-local="{}">{}</time>', utc.isoformat(), hover, style, text)


@register.simple_tag
def zone_name() -> str:
    """The zone in which `moment` writes: "America/New York", or "UTC"."""
    return _here().replace("_", " ")


def _here() -> str:
    return str(timezone.get_current_timezone())

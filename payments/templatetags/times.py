"""Moments on pages: in the publication's zone or, with a script, in the reader's, and in UTC on hover."""

import datetime
import zoneinfo

from django import template
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
    """A moment as a <time>. With `zone`, in that zone. Without, in UTC: marketplace/times.js shows it in the
    browser's zone instead. "short" is for tables, whose caption names the zone.
    """
    if at is None:
        return ""
    utc = at.astimezone(datetime.UTC)
    hover = f"{date_format(utc, 'j F Y, H:i:s')} UTC"
    if zone:
        text = date_format(at.astimezone(zoneinfo.ZoneInfo(zone)), _FORMATS[style])
        return format_html('<time datetime="{}" title="{}">{}</time>', utc.isoformat(), hover, text)
    text = date_format(utc, _FORMATS[style]) + (" UTC" if style == "long" else "")
    return format_html('<time datetime="{}" title="{}" data-local="{}">{}</time>', utc.isoformat(), hover, style, text)

"""The name of the site and of the request, and its test mode. Loaded into every template (settings.TEMPLATES).

Tags and not context variables, because mail and the error pages have no request.
"""

from django import template
from django.conf import settings
from django.utils.html import format_html

from payments import events, play

register = template.Library()


@register.simple_tag
def site_name() -> str:
    """SITE_NAME."""
    return settings.SITE_NAME


@register.simple_tag
def request_id() -> str:
    """The id of the request, as in the log and in X-Request-Id."""
    return events.request_id.get()


@register.simple_tag
def test_mode() -> str:
    """What the banner of every page says while somebody pays with play money, or nothing."""
    who = [name for name, pays in (("cards", play.by_card()), ("wallets", play.on_chain())) if pays]
    return f"Test mode: {' and '.join(who)} pay with play money." if who else ""


@register.simple_tag
def play_badge(rail: str) -> str:
    """The badge of a payment of this rail: it says that the money is play money, or nothing."""
    return format_html('<span class="badge warn">{}</span>', "Test") if play.paid(rail) else ""

"""The name of the site and of the request, for pages and mail. Loaded into every template (settings.TEMPLATES)."""

from django import template
from django.conf import settings

from payments import events

register = template.Library()


@register.simple_tag
def site_name() -> str:
    """SITE_NAME: a tag and not a context variable, because mail and the error pages have no request."""
    return settings.SITE_NAME


@register.simple_tag
def request_id() -> str:
    """The id of the request, as in the log and in X-Request-Id."""
    return events.request_id.get()

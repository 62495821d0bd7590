"""The name of the site, for titles, pages and mail. Loaded into every template (settings.TEMPLATES)."""

from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def site_name() -> str:
    """SITE_NAME: a tag and not a context variable, because mail and the error pages have no request."""
    return settings.SITE_NAME

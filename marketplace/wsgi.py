"""The WSGI application that gunicorn serves. It refuses to start on errors of `manage.py check`."""

import os

from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

application = get_wsgi_application()

# These two only when Django is set up.
from payments import onchain  # noqa: E402
from payments.onchain import rpc  # noqa: E402

if onchain.enabled():
    rpc.load()

if errors := [str(message) for message in run_checks() if message.is_serious()]:
    raise ImproperlyConfigured(" ".join(errors))

"""The product's settings with what a test needs set in the environment, where the caller set nothing."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("SECRET_KEY", "a key for tests that signs nothing of value")
os.environ.setdefault("QUEUE_DIR", tempfile.mkdtemp(prefix="pennypress-queue-"))
os.environ.setdefault("DATABASE_URL", f"sqlite:///{tempfile.mkdtemp(prefix='pennypress-db-')}/unit.sqlite3")
os.environ.setdefault("CHAIN_FINALITY_DEPTH", "1")

from marketplace.settings import *  # noqa: E402, F403
from marketplace.settings import DATABASES, STORAGES  # noqa: E402

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: several threads and the listener for notifications open it.
    DATABASES["default"]["TEST"] = {"NAME": f"{DATABASES['default']['NAME']}.test"}
# An empty folder: nothing is served from it, and no test collects static files into it.
STATIC_ROOT = Path(tempfile.mkdtemp(prefix="pennypress-static-"))
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
# Most tests of refunds are about the whole amount.
REFUND_FEE_PAID_BY = "shop"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

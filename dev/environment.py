"""The environment variables of one stack: those it sets itself, and those it takes from the caller."""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path
from urllib.parse import quote, urlsplit

from dev.chain import CHAIN_ID, TEST_DOLLAR, Accounts
from dev.install import ROOT
from dev.say import Stop

# Set by the stack alone: the caller's values of these belong to another installation.
_OWN = [
    *("BASE_URL", "WEB_BIND", "DATABASE_URL", "DATABASE_OWNER_URL", "CELERY_BROKER_URL", "QUEUE_DIR", "BEAT_FILE"),
    *("CHAIN_RPC_URL", "CHAIN_ID", "CHAIN_ASSET", "CHAIN_ASSET_NAME", "CHAIN_ASSET_VERSION", "CHAIN_START_BLOCK"),
    *("PAY_TO", "SETTLER_KEY", "DJANGO_SETTINGS_MODULE", "PENNYPRESS_ENV_FILE"),
]
_READ_BY_PRODUCT = re.compile(r"""\b(?:env|environ|database)(?:\.\w+)?\(\s*"([A-Z0-9_]+)""")


def databases(asked_for: str | None, folder: Path) -> dict[str, str]:
    """Return DATABASE_URL and, on PostgreSQL, DATABASE_OWNER_URL.

    A PostgreSQL URL is the owner's, and the application gets its own role there, with a password derived from the URL.
    If DATABASE_OWNER_URL is in the environment, the URL is already the application's.
    """
    if not asked_for:
        return {"DATABASE_URL": f"sqlite:///{quote(str(folder / 'pennypress.sqlite3'))}"}
    url = urlsplit(asked_for)
    if url.scheme == "sqlite":
        return {"DATABASE_URL": asked_for}
    if url.scheme not in ("postgres", "postgresql", "pgsql") or not url.path.strip("/"):
        raise Stop("--database-url is sqlite:////path/to/file or postgres://owner:password@host:port/database.")
    if os.environ.get("DATABASE_OWNER_URL"):
        return {"DATABASE_URL": asked_for, "DATABASE_OWNER_URL": os.environ["DATABASE_OWNER_URL"]}
    password = hmac.new(asked_for.encode(), b"the application's role", hashlib.sha256).hexdigest()[:32]
    place = url.netloc.rpartition("@")[2]
    role = f"{url.path.strip('/')}_app"
    return {"DATABASE_URL": url._replace(netloc=f"{role}:{password}@{place}").geturl(), "DATABASE_OWNER_URL": asked_for}


def product(port: int, chain_url: str, accounts: Accounts, folder: Path) -> dict[str, str]:
    """Every variable of the product in this stack except database and broker. All are play values, safe to print."""
    return {
        "SECRET_KEY": secrets.token_hex(32),
        "CHAIN_NAME": "Pennypress demo chain",
        "WALLET_RPC_URL": chain_url,
        # All visitors share one address here, and no test card can be stolen.
        "CHECKOUTS_PER_HOUR": "1000",
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "CHAIN_CONFIRMATIONS": "1",
        "CHAIN_FINALITY_DEPTH": "1",
        "EMAIL_URL": f"filemail:///{quote(str(folder / 'mail'))}",
        **_passed_through(),
        # A name, because passkeys do not work at an IP address.
        "BASE_URL": f"http://localhost:{port}",
        "WEB_BIND": f"127.0.0.1:{port}",
        "QUEUE_DIR": str(folder / "queue"),
        "BEAT_FILE": str(folder / "beat"),
        "CHAIN_RPC_URL": chain_url,
        "CHAIN_ID": str(CHAIN_ID),
        "CHAIN_ASSET": TEST_DOLLAR,
        "PAY_TO": accounts.pay_to.address,
        "SETTLER_KEY": accounts.settler.key,
    }


def processor(url: str, public: str, secret: str, webhook_secret: str) -> dict[str, str]:
    """The variables of this stack's card processor, the stand-in at `url`."""
    return {
        "STRIPE_SECRET_KEY": secret,
        "STRIPE_PUBLISHABLE_KEY": public,
        "STRIPE_WEBHOOK_SECRET": webhook_secret,
        "STRIPE_API_BASE": url,
        "STRIPE_JS_URL": f"{url}/stripe.js",
        "STRIPE_CHECKOUT_ORIGIN": url,
        "STRIPE_STAND_IN": "1",
    }


def for_children(product: dict[str, str]) -> dict[str, str]:
    """A child's environment: the caller's, without the variables of another installation, plus the product's."""
    ours = {name: value for name, value in os.environ.items() if name not in _OWN}
    return {**ours, **product, "DJANGO_SETTINGS_MODULE": "marketplace.settings", "PYTHONUNBUFFERED": "1"}


def for_tests() -> dict[str, str]:
    """The caller's environment without the product's variables, so that tests start from the defaults."""
    return {name: value for name, value in os.environ.items() if name not in _known().union(_OWN)}


def _passed_through() -> dict[str, str]:
    """The product's settings that the caller has set. They override the demo's defaults."""
    return {name: os.environ[name] for name in sorted(_known().difference(_OWN)) if name in os.environ}


def _known() -> set[str]:
    """Every variable that the product reads."""
    sources = [ROOT / "marketplace" / "settings.py", ROOT / "gunicorn.conf.py"]
    return set(_READ_BY_PRODUCT.findall("".join(source.read_text() for source in sources)))

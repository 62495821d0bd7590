"""Every setting. All come from the environment; docs/configuration.md lists each variable, and a test compares them."""

import os
import sys
from email.utils import formataddr
from pathlib import Path
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
if os.environ.get("PENNYPRESS_ENV_FILE"):
    env.read_env(os.environ["PENNYPRESS_ENV_FILE"])

# --- The server ------------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str(
    "SECRET_KEY", default="debug-only-key-that-signs-nothing-of-value" if DEBUG else environ.Env.NOTSET
)
# Former keys, newest first. What they signed is still valid; nothing new is signed with them.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
# The site's name on its pages and in its mail.
SITE_NAME = env.str("SITE_NAME", default="Pennypress")
BASE_URL = env.str("BASE_URL", default="http://localhost:8000").rstrip("/")
_origin = urlsplit(BASE_URL)
HTTPS = _origin.scheme == "https"
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[_origin.hostname])
CSRF_TRUSTED_ORIGINS = [BASE_URL]
ROOT_URLCONF = "marketplace.urls"
WSGI_APPLICATION = "marketplace.wsgi.application"
APPEND_SLASH = False

INSTALLED_APPS = [
    "marketplace",
    "marketplace.accounts",
    "publishers",
    "payments",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "csp",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
]

# A request with this token may read /metrics. Empty: there is no such page, and nothing is measured.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")

MIDDLEWARE = [
    "marketplace.ops.logs.RequestId",
    "marketplace.ops.health.Probes",
    *(["marketplace.ops.metrics.Measured"] if METRICS_TOKEN else []),
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "marketplace.ops.outage.Outage",
    "marketplace.ops.zone.in_the_browsers_zone",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "marketplace.staff.access.second_factor",
    "marketplace.ops.forms.lead_to_the_page",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "marketplace.ops.context.cards",
            ],
            "builtins": ["payments.templatetags.site"],
        },
    },
]

# --- Databases and broker --------------------------------------------------------------------------
_SQLITE = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
}


DATABASE_POOL_MAX = env.int("DATABASE_POOL_MAX", default=16)


def database(name: str, default: str) -> dict:
    """The settings of the database in a URL variable. SQLite gets the options that let several processes write."""
    settings = env.db_url(name, default=default)
    if settings["ENGINE"].endswith("sqlite3"):
        settings["OPTIONS"] = dict(_SQLITE)
    else:
        # One pool per process, so that a request waiting for a settlement holds no connection. The pool runs no health
        # checks: after a database restart it would wait between dead connections, twenty seconds for a dozen. Instead
        # the first request that meets a dead connection has the whole pool checked (marketplace.ops.outage).
        settings["OPTIONS"] = {"pool": {"min_size": 1, "max_size": DATABASE_POOL_MAX, "timeout": 10}}
    return settings


_default_database = f"sqlite:///{BASE_DIR / 'var' / 'pennypress.sqlite3'}"
DATABASE_URL = env.str("DATABASE_URL", default=_default_database)
DATABASES = {"default": database("DATABASE_URL", _default_database)}
DATABASE_OWNER_URL = env.str("DATABASE_OWNER_URL", default="")
# Only `manage.py migrate` runs as the owner of the tables. Everything else runs as the application's role.
if DATABASE_OWNER_URL and sys.argv[1:2] == ["migrate"]:
    DATABASES["owner"] = database("DATABASE_OWNER_URL", _default_database)

CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="filesystem://")
if CELERY_BROKER_URL.startswith("filesystem:"):
    _queue = Path(env.str("QUEUE_DIR", default=str(BASE_DIR / "var" / "queue")))
    for _folder in ("messages", "processed", "control"):
        (_queue / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_queue / "messages"),
        "data_folder_out": str(_queue / "messages"),
        "processed_folder": str(_queue / "processed"),
        "control_folder": str(_queue / "control"),
        "polling_interval": 0.1,
    }
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 300}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Without limit. Celery's hundred tries end, and with them the process, after three quarters of an hour.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BEAT_SCHEDULER = "marketplace.ops.beat:Scheduler"
CELERY_BEAT_SCHEDULE_FILENAME = env.str("BEAT_FILE", default=str(BASE_DIR / "var" / "celerybeat-schedule"))
CELERY_BEAT_SCHEDULE = {
    "audit-the-books": {"task": "payments.audit_books", "schedule": 3600.0, "options": {"expires": 3600}},
    "prune-claims": {"task": "payments.prune_claims", "schedule": 3600.0, "options": {"expires": 3600}},
    "sweep-cards": {"task": "payments.sweep_cards", "schedule": 5.0, "options": {"expires": 30}},
    "charge-tabs": {"task": "payments.charge_tabs", "schedule": 60.0, "options": {"expires": 60}},
    "send-mail": {"task": "payments.send_mail", "schedule": 20.0, "options": {"expires": 60}},
    "first-sales": {"task": "publishers.mail_first_sales", "schedule": 300.0, "options": {"expires": 300}},
    "count-sales": {"task": "payments.count_sales", "schedule": 60.0, "options": {"expires": 60}},
    "fetch-undelivered": {"task": "payments.fetch_undelivered", "schedule": 3600.0, "options": {"expires": 3600}},
    # Not daily: beat counts from its own start, and a shop that is deployed daily would never reconcile.
    "reconcile": {"task": "payments.reconcile", "schedule": 21600.0, "options": {"expires": 21600}},
}

# --- The chain and the money -----------------------------------------------------------------------
# CHAIN_RPC_URL and PAY_TO turn the exact rail on; SETTLER_KEY is for the settler alone (payments.checks).
CHAIN_RPC_URL = env.str("CHAIN_RPC_URL", default="")
CHAIN_ID = env.int("CHAIN_ID", default=84532)
CHAIN_NAME = env.str("CHAIN_NAME", default={8453: "Base", 84532: "Base Sepolia"}.get(CHAIN_ID, f"chain {CHAIN_ID}"))
CHAIN_ASSET = env.str("CHAIN_ASSET", default="0x036CbD53842c5426634e7929541eC2318f3dCF7e")
CHAIN_ASSET_NAME = env.str("CHAIN_ASSET_NAME", default="USDC")
CHAIN_ASSET_VERSION = env.str("CHAIN_ASSET_VERSION", default="2")
PAY_TO = env.str("PAY_TO", default="")
SETTLER_KEY = env.str("SETTLER_KEY", default="")
# A node that browsers may use, offered to wallets that do not know the chain. Empty: no node is offered.
WALLET_RPC_URL = env.str("WALLET_RPC_URL", default="")
CHAIN_CONFIRMATIONS = env.int("CHAIN_CONFIRMATIONS", default=1)
CHAIN_FINALITY_DEPTH = env.int("CHAIN_FINALITY_DEPTH", default=64)
CHAIN_LOG_RANGE = env.int("CHAIN_LOG_RANGE", default=1000)
CHAIN_START_BLOCK = env.int("CHAIN_START_BLOCK", default=-1)
RPC_TIMEOUT_SECONDS = env.int("RPC_TIMEOUT_SECONDS", default=5)
BATCH_MAX = env.int("BATCH_MAX", default=64)
MAX_FEE_GWEI = env.int("MAX_FEE_GWEI", default=500)
FEE_BUMP_SECONDS = env.int("FEE_BUMP_SECONDS", default=15)
LEASE_SECONDS = env.int("LEASE_SECONDS", default=5)
PLATFORM_FEE_BASIS_POINTS = env.int("PLATFORM_FEE_BASIS_POINTS", default=500)
QUOTE_SECONDS = env.int("QUOTE_SECONDS", default=900)
PAYMENT_TIMEOUT_SECONDS = env.int("PAYMENT_TIMEOUT_SECONDS", default=300)
PAYMENT_MARGIN_SECONDS = env.int("PAYMENT_MARGIN_SECONDS", default=6)
PAYMENT_SKEW_SECONDS = env.int("PAYMENT_SKEW_SECONDS", default=60)
SETTLE_WAIT_SECONDS = env.float("SETTLE_WAIT_SECONDS", default=4.0)
SETTLE_WAITERS_MAX = env.int("SETTLE_WAITERS_MAX", default=48)
REPLAY_SECONDS = env.int("REPLAY_SECONDS", default=60)
CONTRACT_WALLET_CHECKS_PER_MINUTE = env.int("CONTRACT_WALLET_CHECKS_PER_MINUTE", default=60)
# The Ed25519 seed (64 hex digits) that signs receipts. Empty: derived from SECRET_KEY.
RECEIPT_KEY = env.str("RECEIPT_KEY", default="")
RECEIPT_KEY_FALLBACKS = env.list("RECEIPT_KEY_FALLBACKS", default=[])

# --- Cards and purses ------------------------------------------------------------------------------
# Purses are on when the secret key is set. The key decides between test mode and real money.
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="")
STRIPE_PUBLISHABLE_KEY = env.str("STRIPE_PUBLISHABLE_KEY", default="")
STRIPE_WEBHOOK_SECRET = env.str("STRIPE_WEBHOOK_SECRET", default="")
STRIPE_WEBHOOK_SECRET_FALLBACKS = env.list("STRIPE_WEBHOOK_SECRET_FALLBACKS", default=[])
# In a demo, in tests and with DEBUG, any server that speaks Stripe's API can replace Stripe.
STRIPE_API_BASE = env.str("STRIPE_API_BASE", default="https://api.stripe.com").rstrip("/")
STRIPE_JS_URL = env.str("STRIPE_JS_URL", default="https://js.stripe.com/v3/")
STRIPE_STAND_IN = env.bool("STRIPE_STAND_IN", default=False)
_stripes_api = STRIPE_API_BASE == "https://api.stripe.com"
_with_stripe = _stripes_api and STRIPE_JS_URL.startswith("https://js.stripe.com/")
STRIPE_CHECKOUT_ORIGIN = env.str(
    "STRIPE_CHECKOUT_ORIGIN", default="https://checkout.stripe.com" if _stripes_api else STRIPE_API_BASE
)
if STRIPE_SECRET_KEY and not _with_stripe:
    if "_live_" in STRIPE_SECRET_KEY:
        raise ImproperlyConfigured("A live key goes to Stripe alone: unset STRIPE_API_BASE and STRIPE_JS_URL.")
    if not (DEBUG or STRIPE_STAND_IN):
        raise ImproperlyConfigured("STRIPE_API_BASE is not Stripe's. In a trial with play money set STRIPE_STAND_IN=1.")
STRIPE_TIMEOUT_SECONDS = env.int("STRIPE_TIMEOUT_SECONDS", default=10)
TOPUP_CENTS = env.list("TOPUP_CENTS", cast=int, default=[500, 1000, 2000])
DIRECT_FROM_CENTS = env.int("DIRECT_FROM_CENTS", default=300)
TAB_LIMIT_CENTS = env.int("TAB_LIMIT_CENTS", default=300)
TAB_LIMIT_TRUSTED_CENTS = env.int("TAB_LIMIT_TRUSTED_CENTS", default=1000)
TAB_SETTLE_CENTS = env.int("TAB_SETTLE_CENTS", default=500)
TAB_DAYS = env.int("TAB_DAYS", default=7)
TAB_FORGIVE_CENTS = env.int("TAB_FORGIVE_CENTS", default=10)
REFUND_SECONDS = env.int("REFUND_SECONDS", default=600)
REFUNDS_PER_DAY = env.int("REFUNDS_PER_DAY", default=3)
REFUND_FEE_PAID_BY = env.str("REFUND_FEE_PAID_BY", default="buyer")
CLEARING_HOLD_SECONDS = env.int("CLEARING_HOLD_SECONDS", default=604800)
CHECKOUTS_PER_HOUR = env.int("CHECKOUTS_PER_HOUR", default=5)

# --- People ----------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
ACCOUNT_ADAPTER = "marketplace.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "marketplace.accounts.forms.LoginForm",
    "signup": "marketplace.accounts.forms.SignupForm",
    "change_password": "marketplace.accounts.forms.ChangePasswordForm",
    "reset_password_from_key": "marketplace.accounts.forms.ResetPasswordKeyForm",
}
MFA_ADAPTER = "marketplace.accounts.adapter.MFAAdapter"
MFA_FORMS = {
    f"{verb}_webauthn": f"marketplace.accounts.forms.{verb.capitalize()}WebAuthnForm"
    for verb in ("add", "signup", "login", "authenticate", "reauthenticate")
}
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_LOGIN_METHODS = {"email"}
# The password is optional: an address confirmed by a code is enough for an account.
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = env.str("ACCOUNT_EMAIL_VERIFICATION", default="mandatory")
# A code is for a sign-up that waits for it. With `optional` a link goes out by mail, and nobody waits.
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = ACCOUNT_EMAIL_VERIFICATION == "mandatory"
ACCOUNT_LOGIN_BY_CODE_ENABLED = True
ACCOUNT_LOGOUT_ON_GET = False
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
# Requires an address confirmed by a code, because the account has no other way to sign in yet.
MFA_PASSKEY_SIGNUP_ENABLED = ACCOUNT_EMAIL_VERIFICATION == "mandatory"
MFA_TOTP_ISSUER = SITE_NAME
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _origin.scheme
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "signed_in"
ACCOUNT_LOGOUT_REDIRECT_URL = "home"
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
# A mail server that does not answer holds up a thread for no longer.
EMAIL_TIMEOUT = 10
# Who is told of disputes and fraud warnings.
STAFF_EMAILS = env.list("STAFF_EMAILS", default=[])
if EMAIL_CONFIG["EMAIL_BACKEND"].endswith(".smtp.EmailBackend"):
    EMAIL_BACKEND = "marketplace.ops.mail.Backend"
DEFAULT_FROM_EMAIL = formataddr((SITE_NAME, env.str("DEFAULT_FROM_EMAIL", default=f"pennypress@{_origin.hostname}")))

# --- Language, time, files -------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "marketplace.ops.storage.ModuleStorage"
    },
}

# --- Security --------------------------------------------------------------------------------------
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        # Browsers also apply this to the redirect after a form, such as the one to the hosted card page.
        "form-action": [SELF, *([STRIPE_CHECKOUT_ORIGIN] if STRIPE_SECRET_KEY else [])],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 60 * 60 * 24 * 90
X_FRAME_OPTIONS = "DENY"
# Only behind a proxy that overwrites these headers, whatever clients send.
TRUST_PROXY_HEADERS = env.bool("TRUST_PROXY_HEADERS", default=False)
if TRUST_PROXY_HEADERS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    # Sign-in attempts are counted per client address. With the proxy's address one visitor would lock out all others.
    ALLAUTH_TRUSTED_PROXY_COUNT = 1
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.CursorPagination",
    "PAGE_SIZE": 50,
}

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOG_FORMAT = env.str("LOG_FORMAT", default="text")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "source": {"()": "marketplace.ops.logs.Source"},
        "outages": {"()": "marketplace.ops.logs.Outages"},
    },
    "formatters": {
        "text": {"format": "{asctime} {levelname} {name} [{during}] {message}", "style": "{"},
        "json": {"()": "marketplace.ops.logs.Json"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["source"]}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # 402 is a normal response here; Django would log each one as a warning.
        "django.request": {"level": "ERROR"},
        # A wrong Host header gets a 400. A traceback for each would flood the log.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "web3": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        # Lines for each task that is sent, received and done, several a second.
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING", "filters": ["outages"]},
        # Lines for each try during an outage, which marketplace.ops and payments.outages log once.
        "celery.worker.consumer.consumer": {"filters": ["outages"]},
        # Its errors are of cleaning up after a lost connection.
        "celery.bootsteps": {"level": "CRITICAL"},
        "psycopg.pool": {"level": "ERROR"},
    },
}

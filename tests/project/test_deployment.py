"""What must hold when it runs for real: settings, the image, its services, and the proxy before it."""

import fnmatch
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from allauth.account.adapter import get_adapter
from django.core.checks import ERROR, run_checks
from django.core.management import call_command
from django.test import RequestFactory

from dev.chain import free_port
from dev.install import ROOT, UV_VERSION
from tests.project.modules import Module
from tests.project.test_configuration import PAGE
from tests.project.test_content_policy import check_policy

PAY_TO = "0x000000000000000000000000000000000000dEaD"
PRODUCTION = {
    "SECRET_KEY": "one-long-key-that-only-this-test-knows-8c1f0a77b3d94e5d9a",
    "BASE_URL": "https://press.example",
    "TRUST_PROXY_HEADERS": "1",
    "CHAIN_RPC_URL": "http://127.0.0.1:1",
    "PAY_TO": PAY_TO,
    "CELERY_BROKER_URL": "memory://",
}


def manage(*words: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """manage.py as an operator runs it: with these variables of the product and no others."""
    environment = {"PATH": os.environ["PATH"], **variables}
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


# --- Settings -----------------------------------------------------------------------------------------


def test_djangos_deployment_check_is_silent_with_production_settings() -> None:
    check = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert check.returncode == 0, check.stderr
    assert "no issues (0 silenced)" in check.stdout


def test_the_same_check_complains_without_tls() -> None:
    check = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION | {"BASE_URL": "http://press.example"})
    assert check.returncode == 1
    assert "security.W008" in check.stderr


def test_without_a_secret_key_nothing_starts() -> None:
    variables = {name: value for name, value in PRODUCTION.items() if name != "SECRET_KEY"}
    refused = manage("check", **variables)
    assert refused.returncode == 1
    assert "SECRET_KEY" in refused.stderr.splitlines()[-1]


def test_proxy_headers_are_believed_only_when_that_is_said() -> None:
    behind_a_proxy = manage("diffsettings", **PRODUCTION).stdout
    alone = manage("diffsettings", **PRODUCTION | {"TRUST_PROXY_HEADERS": "0"}).stdout
    for name in ("SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')", "ALLAUTH_TRUSTED_PROXY_COUNT = 1"):
        assert name in behind_a_proxy
        assert name not in alone


def test_attempts_to_sign_in_are_counted_by_the_address_that_the_proxy_saw(settings: Any) -> None:
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    request = RequestFactory(REMOTE_ADDR="172.17.0.1").get("/", headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"})
    assert get_adapter().get_client_ip(request) == "203.0.113.9"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"PAY_TO": ""}, "payments.E001"),
        ({"CHAIN_RPC_URL": ""}, "payments.E001"),
        ({"PAY_TO": "0x12"}, "payments.E002"),
        ({"CHAIN_ASSET": "USDC"}, "payments.E002"),
        ({"CHAIN_ID": 8453}, "payments.E006"),
        ({"PLATFORM_FEE_BASIS_POINTS": 10_000}, "payments.E003"),
        ({"PAYMENT_TIMEOUT_SECONDS": 6}, "payments.E004"),
        ({"SETTLE_WAIT_SECONDS": 12.1}, "payments.E009"),
    ],
)
def test_a_half_configured_rail_is_an_error_at_start(settings: Any, changes: dict[str, Any], word: str) -> None:
    settings.CHAIN_RPC_URL, settings.PAY_TO = "http://127.0.0.1:1", PAY_TO
    assert [found for found in run_checks() if found.level >= ERROR] == []
    for name, value in changes.items():
        setattr(settings, name, value)
    assert word in [found.id for found in run_checks() if found.level >= ERROR]


@pytest.mark.parametrize("command", ["settle", "watch"])
def test_the_processes_at_the_chain_refuse_a_half_configured_rail(command: str) -> None:
    refused = manage(command, **PRODUCTION | {"PAY_TO": "", "SETTLER_KEY": "0x" + "11" * 32})
    assert refused.returncode == 1
    assert "payments.E001" in refused.stderr


def test_the_web_server_refuses_a_half_configured_rail() -> None:
    environment = {"PATH": os.environ["PATH"], **PRODUCTION, "PAY_TO": ""}
    command = [sys.executable, "-c", "import marketplace.wsgi"]
    started = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert "PAY_TO is missing" in started.stderr


_AT_IMPORT = """
import threading
import marketplace.wsgi
from django.db import connections
print(threading.active_count(), [one.connection for one in connections.all(initialized_only=True) if one.connection])
"""


def test_the_web_server_has_no_connection_and_no_thread_before_it_forks() -> None:
    asked = [sys.executable, "-c", _AT_IMPORT]
    environment = {"PATH": os.environ["PATH"], **PRODUCTION}
    said = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert said.stdout.strip() == "1 []", said.stderr


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


# --- The image ----------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def context(folder: Path) -> None:
    """Copy what .dockerignore lets into the build."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*", "the file begins by letting nothing in"
    without = [rule.removeprefix("**/") for rule in rules[1:] if not rule.startswith("!")]
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        target = folder / name
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns(*without))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)


def test_the_builds_context_has_the_product_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    context(tmp_path / "app")
    copied = {str(path.relative_to(tmp_path / "app")) for path in (tmp_path / "app").rglob("*")}
    assert {
        "manage.py",
        "uv.lock",
        "marketplace/settings.py",
        "payments/onchain/contracts/BatchSettlement.json",
    } <= copied
    assert not [
        name for name in copied if fnmatch.fnmatch(name, "*.pyc") or name.startswith((".env", "tests", "dev/", "var"))
    ]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the image has in /app: the build's context, and the static files the build collects."""
    folder = tmp_path_factory.mktemp("image") / "app"
    folder.mkdir()
    context(folder)
    line = next(rest for word, rest in instructions() if word == "RUN" and "collectstatic" in rest)
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    python, *command = words[len(variables) :]
    assert python == ".venv/bin/python"
    done = manage(*command[1:], folder=folder, **variables)
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def serving(image: Path, folder: Path, **variables: str) -> Iterator[httpx.Client]:
    """The image's own command on a port of this machine, and a client that speaks to it as a TLS proxy does."""
    port = free_port()
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "WEB_BIND": f"127.0.0.1:{port}"}
    environment |= {"WEB_WORKERS": "1", "DATABASE_URL": f"sqlite:///{folder / 'shop.sqlite3'}", **variables}
    command = next(rest for word, rest in reversed(instructions()) if word == "CMD")
    with (folder / "web.log").open("w") as log:
        server = subprocess.Popen(yaml.safe_load(command), cwd=image, env=environment, stdout=log, stderr=log)
    check = [sys.executable, "deploy/healthcheck.py"]
    proxy = {"Host": "press.example", "X-Forwarded-Proto": "https"}
    try:
        for _ in range(100):
            if subprocess.run(check, cwd=image, env=environment, capture_output=True).returncode == 0:
                break
            assert server.poll() is None, (folder / "web.log").read_text()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=proxy, trust_env=False, timeout=30) as client:
            yield client
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert subprocess.run(check, cwd=image, env=environment, capture_output=True).returncode != 0


def test_the_image_serves_with_production_settings_behind_a_proxy(image: Path, tmp_path: Path) -> None:
    database = {"DATABASE_URL": f"sqlite:///{tmp_path / 'shop.sqlite3'}"}
    assert manage("migrate", folder=image, **PRODUCTION, **database).returncode == 0
    with serving(image, tmp_path, **PRODUCTION, METRICS_TOKEN="t", WEB_WORKERS="2") as client:
        home = client.get("/")
        assert home.status_code == 200
        _well_headed(home)
        styles = re.findall(r'href="(/static/[^"]+\.css)"', home.text)
        assert styles
        for address in styles:
            style = client.get(address)
            assert style.headers["cache-control"] == "max-age=315360000, public, immutable"

        insecure = client.get("/about", headers={"X-Forwarded-Proto": "http"})
        assert (insecure.status_code, insecure.headers["location"]) == (301, "https://press.example/about")
        assert client.get("/healthz", headers={"X-Forwarded-Proto": "http"}).status_code == 200
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 400

        signing_in = client.get("/accounts/login/")
        _well_headed(signing_in)
        cookie = signing_in.headers["set-cookie"]
        assert re.search(r"csrftoken=.*; HttpOnly; .*SameSite=Lax; Secure", cookie)
        lost = client.get("/no/such/page")
        assert lost.status_code == 404
        _well_headed(lost)
        assert "Traceback" not in lost.text
        assert "press.example" not in client.get("/readyz").text
        _counts_in_all_processes(client)
    log = (tmp_path / "web.log").read_text()
    assert "Traceback" not in log, log


def _counts_in_all_processes(client: httpx.Client) -> None:
    """Whichever web process is asked for the metrics tells the requests of both."""

    def told() -> int:
        said = client.get("/metrics", headers={"Authorization": "Bearer t", "Connection": "close"}).text
        return int(
            float(re.findall(r'^pennypress_requests_total{kind="page",status="404"} (.*)', said, re.MULTILINE)[0])
        )

    before = told()
    for number in range(1, 21):
        client.get("/no/such/page", headers={"Connection": "close"})
        assert told() == before + number


def _well_headed(answer: httpx.Response) -> None:
    assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains; preload"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    check_policy(answer.headers["content-security-policy"])


def test_the_dockerfile_builds_from_the_lock_and_runs_without_root() -> None:
    said = instructions()
    bases = [rest.split()[0] for word, rest in said if word == "FROM"]
    assert bases == ["python:3.11-slim-bookworm"] * 2
    runs = [rest for word, rest in said if word == "RUN"]
    assert any(f"uv=={UV_VERSION}" in run for run in runs)
    assert "uv sync --frozen --no-dev" in runs
    last = said[[number for number, (word, _) in enumerate(said) if word == "FROM"][-1] :]
    assert ("USER", "10001:10001") in last
    assert not any("SECRET_KEY" in rest for _, rest in last)
    assert ("CMD", '["gunicorn"]') in last
    assert yaml.safe_load(next(rest for word, rest in last if word == "HEALTHCHECK").split("CMD ")[1])[1:] == [
        "deploy/healthcheck.py"
    ]


def installed_in_the_image() -> set[str]:
    """The distributions that `uv sync --no-dev` installs, by the lock file, for whatever platform."""
    packages = {one["name"]: one for one in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    found: set[tuple[str, str]] = set()
    todo = [("pennypress", "")]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        one = packages[name]
        for needed in one.get("optional-dependencies", {}).get(extra, []) if extra else one.get("dependencies", []):
            todo += [(needed["name"], ""), *((needed["name"], other) for other in needed.get("extra", []))]
    return {name for name, _ in found}


def test_what_the_product_imports_is_in_the_image() -> None:
    there = installed_in_the_image()
    assert "django" in there
    assert "pytest" not in there
    distributions = importlib.metadata.packages_distributions()
    paths = [
        *(path for package in ("marketplace", "payments", "publishers") for path in (ROOT / package).rglob("*.py"))
    ]
    for path in [*paths, ROOT / "gunicorn.conf.py"]:
        for name in {
            found.partition(".")[0] for found in Module(str(path.relative_to(ROOT)), path.read_text()).imports()
        }:
            if name not in sys.stdlib_module_names and not (ROOT / name).is_dir():
                from_ = {re.sub(r"[-_.]+", "-", one).lower() for one in distributions.get(name, [name])}
                assert from_ & there, f"{path} imports {name}, which is not in the image"


# --- The services -------------------------------------------------------------------------------------

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: one for name, one in COMPOSE["services"].items() if one["image"].startswith("pennypress:")}
# Not for compose to set: development, the file broker, another env file, and the image's own address.
LEFT_OUT = {"DEBUG", "QUEUE_DIR", "PENNYPRESS_ENV_FILE", "WEB_BIND"}


def test_every_process_has_a_service() -> None:
    assert set(OURS) == {"web", "worker", "beat", "watcher", "settler", "migrate"}
    assert set(COMPOSE["services"]) - set(OURS) == {"postgres", "redis"}


def test_each_service_gets_the_variables_it_needs_and_no_others_secrets() -> None:
    for name, service in OURS.items():
        given = set(service["environment"])
        assert given <= set(PAGE), name
        needed = {key for key, row in PAGE.items() if {name, "all"} & set(row["process"].split(", "))}
        assert needed - LEFT_OUT <= given, name
    assert [name for name, one in OURS.items() if "SETTLER_KEY" in one["environment"]] == ["settler"]
    assert [name for name, one in OURS.items() if "DATABASE_OWNER_URL" in one["environment"]] == ["migrate"]


def test_no_secret_is_written_into_compose_and_the_example_names_each() -> None:
    text = (ROOT / "compose.yaml").read_text()
    asked_for = set(re.findall(r"\$\{(\w+):\?", text))
    assert set(re.findall(r"\$\{(\w+)", text)) == asked_for, "a required variable has no default"
    assert asked_for <= set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    for service in OURS.values():
        for name in ("SECRET_KEY", "SETTLER_KEY"):
            assert service["environment"].get(name, "${").startswith("${")


def test_services_start_in_order_without_root_and_with_fixed_versions() -> None:
    for name, service in COMPOSE["services"].items():
        tag = service["image"].partition(":")[2]
        assert tag, name
        assert "latest" not in tag, name
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other == "migrate" else "service_healthy"
            assert how["condition"] == wanted
            assert other == "migrate" or "test" in COMPOSE["services"][other]["healthcheck"]
    for name, service in OURS.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "user" not in service, name
        assert name == "migrate" or "migrate" in service["depends_on"], name
    assert OURS["web"]["ports"] == ["127.0.0.1:8000:8000"]
    assert "ports" not in COMPOSE["services"]["postgres"] | COMPOSE["services"]["redis"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_services_command_exists(name: str) -> None:
    command = OURS[name].get("command", ["gunicorn"])
    for words in [shlex.split(part) for part in command[-1].split("&&")] if command[0] == "sh" else [command]:
        words = words[1:] if words[0] == "exec" else words
        if words[:2] == ["python", "manage.py"]:
            assert manage(words[2], "--help", **PRODUCTION).returncode == 0
        else:
            assert (Path(sys.executable).parent / words[0]).exists()


def test_the_proxys_sample_passes_on_what_the_shop_needs() -> None:
    said = (ROOT / "deploy" / "nginx.conf").read_text()
    for line in ("proxy_buffer_size 16k;", "large_client_header_buffers 4 16k;", "proxy_next_upstream off;"):
        assert line in said
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in said
    assert "proxy_cache" not in said

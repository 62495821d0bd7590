"""Documents, comments and docstrings name nothing that is gone. Each rule is shown to be breakable."""

from collections.abc import Callable, Iterator

import pytest

from tests.project import stale

Rule = Callable[[str], Iterator[str]]

PROSE: tuple[Rule, ...] = (
    stale.paths,
    stale.file_names,
    stale.dotted,
    stale.short,
    stale.identifiers,
    stale.manage_commands,
    stale.verbs,
    stale.markers,
    stale.tests,
    stale.addresses,
    stale.references,
)
# What can be told from everything else in templates, scripts, SQL and files of settings.
OTHER_TEXT: tuple[Rule, ...] = (stale.paths, stale.manage_commands, stale.verbs, stale.markers, stale.references)


def found(rules: tuple[Rule, ...], texts: dict[str, str]) -> list[str]:
    return [
        f"{path}: {name} ({rule.__name__})" for path, text in texts.items() for rule in rules for name in rule(text)
    ]


def test_no_document_names_what_is_gone() -> None:
    texts = stale.documents()
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/architecture.md"} <= set(texts)
    assert found(PROSE, texts) == []


def test_no_comment_and_no_docstring_names_what_is_gone() -> None:
    texts = stale.comments()
    assert len(texts) > 200
    assert found(PROSE, texts) == []


def test_no_other_text_names_what_is_gone() -> None:
    texts = {path: text for path, text in stale.sources().items() if not path.endswith(".py")}
    assert {"compose.yaml", "Dockerfile", "pyproject.toml", ".ci/run", "templates/base.html"} <= set(texts)
    assert found(OTHER_TEXT, texts) == []


def test_no_code_numbers_what_no_page_numbers() -> None:
    assert found((stale.references,), stale.sources()) == []


@pytest.mark.parametrize(
    ("rule", "text", "name"),
    [
        (stale.paths, "see payments/chain.py", "payments/chain.py"),
        (stale.paths, "`payments/contracts/*.sol`", "payments/contracts/*.sol"),
        (stale.paths, "write `payments/ways/<name>.py`", "payments/ways/<name>.py"),
        (stale.paths, "the views in marketplace/views/", "marketplace/views/"),
        (stale.paths, "(docs/cookbook.md)", "docs/cookbook.md"),
        (stale.paths, "python3 dev.py test tests/nowhere -q", "tests/nowhere"),
        (stale.paths, "{% static 'marketplace/programs.css' %}", "marketplace/programs.css"),
        (stale.file_names, "`doorbell.py` rings", "doorbell.py"),
        (stale.file_names, "the page reader/programs.html", "reader/programs.html"),
        (stale.file_names, "`shop/_program.html`", "shop/_program.html"),
        (stale.dotted, "marketplace.shelf keeps it", "marketplace.shelf"),
        (stale.dotted, "ask payments.gate.let_in_all", "payments.gate.let_in_all"),
        (stale.dotted, "`payments.models.Payment.price_cents`", "payments.models.Payment.price_cents"),
        (stale.short, "`settlement.record` does", "settlement.record"),
        (stale.short, "`ledger.write(entry)`", "ledger.write"),
        (stale.identifiers, "Set CHAIN_NODE_URL first", "CHAIN_NODE_URL"),
        (stale.identifiers, "the `SQUARE_` variables", "SQUARE_"),
        (stale.identifiers, "the view `audit_ledger`", "audit_ledger"),
        (stale.identifiers, "`take_it_all(now)`", "take_it_all"),
        (stale.manage_commands, "run `manage.py settle_all`", "settle_all"),
        (stale.manage_commands, "python manage.py deploy", "deploy"),
        (stale.manage_commands, 'command: ["python", "manage.py", "reconcile"]', "reconcile"),
        (stale.manage_commands, "python3 dev.py manage auditor", "auditor"),
        (stale.verbs, "python3 dev.py serve", "serve"),
        (stale.verbs, "python3 dev.py demo --fast", "--fast"),
        (stale.verbs, "| `--verbose` | says more |", "--verbose"),
        (stale.markers, "python3 dev.py test -m quick", "quick"),
        (stale.markers, "pytest -q -m 'not slow and not lazy'", "lazy"),
        (stale.tests, "shown by test_nobody_pays_three_times", "test_nobody_pays_three_times"),
        (stale.addresses, "at `/purse/programs`", "/purse/programs"),
        (stale.addresses, "`GET /api/wallet`", "/api/wallet"),
        (stale.addresses, "`/studio/<publication>/articles/<id>/delete`", "/studio/<publication>/articles/<id>/delete"),
        (stale.addresses, "curl http://127.0.0.1:8000/article/the-drill.md", "/article/the-drill.md"),
        (stale.references, "INV7 holds", "INV7"),
        (stale.references, "the tab (s11)", "s11"),
        (stale.references, "(cards §3.3)", "§3.3"),
        (stale.references, "as section 4.2 says", "section 4.2"),
    ],
)
def test_each_rule_refuses_what_is_gone(rule: Rule, text: str, name: str) -> None:
    assert list(rule(text)) == [name]


@pytest.mark.parametrize(
    "text",
    [
        "payments/rails/<name>.py, payments/onchain/contracts/*.sol, tests/project/test_<name>.py. See docs/.",
        "`payments/gate.py`, `ledger.py`, `reader/_tabs.html`, `stack.json`, marketplace/keys.css",
        "payments.models.Payment.state, dev.py, payments.offers.Offer.price",
        "`ledger.post(kind, key, moves)`, `request.headers`, `pyproject.toml`",
        "SECRET_KEY, `STRIPE_`, `STRIPE_TEST_KEY`, PAYMENT-REQUIRED, $BUYER_KEY, `audit_entry`, `approval_required`",
        "`manage.py audit`, python manage.py migrate, any `manage.py` command, manage.py as an operator runs it",
        "`dev.py demo --once`, python3 dev.py test -m slow, what dev.py demo starts, `--block-time SECONDS`",
        "test_every_link_to_a_file_leads_somewhere, test_documents",
        "`/purse/keys`, `/studio/`, `/articles/<slug>/buy`, `/purse/approvals/…`, `/etc/pennypress`, `/_fake/x`",
        "web3.eth, x402.http.clients, payment_intent.*, https://example.org/articles/none, stripe.PaymentIntent",
        "RFC 9562, EIP-3009 section 2, x402 §5.1, CAIP-122, sections, s1, the section on money",
    ],
)
def test_what_exists_and_what_is_of_others_passes(text: str) -> None:
    assert [(rule.__name__, name) for rule in PROSE for name in rule(text)] == []


def test_every_exception_is_still_needed() -> None:
    prose = "\n".join([*stale.documents().values(), *stale.comments().values()])
    for name in stale._OTHERS:
        assert name in prose, name
        assert name not in stale.words(), name


def test_older_entries_of_the_changelog_are_left_alone() -> None:
    newest = stale.documents()["CHANGELOG.md"]
    assert newest.count("\n## [") == 1
    assert newest.startswith("# Changelog")

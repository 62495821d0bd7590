"""Documents match the tree: versions, dependencies, links, a rail's parts. The README's agents run."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
import yaml

from dev.install import ROOT, node
from payments.rails import Rail
from tests.shop import Shop

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_newest_entry_of_the_changelog_is_the_version() -> None:
    entries = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert entries[0] == PROJECT["project"]["version"]
    assert entries == sorted(entries, key=lambda entry: [int(part) for part in entry.split(".")], reverse=True)


def test_the_image_has_the_version() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    ours = {service["image"] for service in services if "build" in service}
    assert ours == {f"pennypress:{PROJECT['project']['version']}"}


def needed() -> dict[str, set[str]]:
    """Every dependency by the heading it belongs under in docs/decisions/dependencies.md."""
    npm = json.loads((ROOT / "package.json").read_text())
    groups = {"[project] dependencies": PROJECT["project"]["dependencies"], **PROJECT["dependency-groups"]}
    found = {group: {re.split(r"[<>=]", line)[0] for line in lines} for group, lines in groups.items()}
    return {
        **found,
        "package.json": {name for kind, names in npm.items() if kind.endswith("ependencies") for name in names},
    }


def test_every_dependency_has_its_line_and_no_other_has() -> None:
    page = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    sections = {
        re.search(r"`([^`]+)`", title)[1]: body
        for title, body in re.findall(r"^## (.*`.*)\n([^#]*)", page, re.MULTILINE)
    }  # type: ignore[index]
    assert set(sections) == set(needed())
    for group, names in needed().items():
        rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", sections[group], re.MULTILINE))
        assert set(rows) == names, group
        assert all(len(row.split(" | ")) == 3 for row in rows.values()), group


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target.partition("#")[0]).exists(), target


def test_contributing_lists_every_part_of_a_rail() -> None:
    table = re.findall(r"^ *\| `(\w+)(?:\(.*?\))?` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    methods = [name for name in vars(Rail) if not name.startswith("_")]
    assert table == [*Rail.__annotations__, *methods]


def test_the_license_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def program(language: str) -> str:
    """The README's only agent in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return found


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_readmes_agent_buys_and_its_receipt_opens_the_article(shop: Shop, tmp_path: Path, language: str) -> None:
    article = shop.article(3)
    wallet = shop.wallet(1_000_000)
    environment = {
        **os.environ,
        "URL": article["md_url"],
        "BUYER_KEY": "0x" + wallet.account.key.hex().removeprefix("0x"),
        "NO_PROXY": "127.0.0.1,localhost",
        "PYTHONWARNINGS": "default",
    }
    script = tmp_path / ("buy.py" if language == "python" else "buy.mjs")
    script.write_text(program(language))
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    runner = sys.executable if language == "python" else os.environ.get("NODE") or str(node())
    done = subprocess.run([runner, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    first, text = done.stdout.split("\n", 1)
    status, receipt = first.split()
    assert status == "200", done.stdout + done.stderr
    assert text.startswith(f"# {article['title']}")
    assert shop.balance(wallet.address) == 1_000_000 - article["agent_price_micros"]

    assert 'curl -H "PAYMENT-RECEIPT: $RECEIPT" $URL' in README
    for address in (article["md_url"], article["json_url"], article["url"]):
        assert httpx.get(address, headers={"PAYMENT-RECEIPT": receipt}).status_code == 200
    assert shop.balance(wallet.address) == 1_000_000 - article["agent_price_micros"]

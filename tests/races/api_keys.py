"""Purses, keys and articles for races, made inside the running shop as its own code makes them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from dev.install import ROOT
from tests.faults.stage import Stage

PRICE = 50_000
_SCRIPT = """
import json, os
from payments.purses import api_keys
from tests import buyers
asked = json.loads(os.environ["ASKED"])
texts, purses = [], []
for one in asked["purses"]:
    purse = buyers.purse(one["micros"], tab=one["tab"])
    purses.append(str(purse.id))
    texts += [buyers.key(purse, **one["limits"]) for _ in range(one["keys"])]
addresses = []
if asked["articles"]:
    from publishers.articles import writing
    from publishers.models import Publication
    lantern = Publication.objects.first()
    prices = writing.Prices(asked["price"], asked["price"])
    for number in range(asked["articles"]):
        text = "The free part.\\n\\n<!-- paywall -->\\n\\nThe paid canary7731.\\n"
        made = writing.create_article(lantern, writing.draft(f"Race {number}", text), prices, by=None)
        writing.publish(made)
        addresses.append(f"{made.get_absolute_url()}.json")
print("MADE" + json.dumps({"texts": texts, "purses": purses, "addresses": addresses}))
"""


@dataclass(frozen=True)
class Purse:
    """What to make: so much in it, and keys with limits."""

    micros: int
    keys: int = 1
    tab: int = 0
    limits: dict[str, Any] | None = None

    def asked(self) -> dict[str, Any]:
        return {"micros": self.micros, "keys": self.keys, "tab": self.tab, "limits": self.limits or {}}


@dataclass(frozen=True)
class Made:
    """The keys' texts, the purses' ids, and the addresses of new articles at PRICE, as JSON."""

    texts: list[str]
    purses: list[str]
    addresses: list[str]


def make(stage: Stage, *purses: Purse, articles: int = 0) -> Made:
    """In a process of its own, with the shop's settings."""
    asked = {"purses": [purse.asked() for purse in purses], "articles": articles, "price": PRICE}
    found = json.loads(run(stage, _SCRIPT, ASKED=json.dumps(asked)).partition("MADE")[2])
    return Made(found["texts"], found["purses"], [f"{stage.shop.url}{address}" for address in found["addresses"]])


def run(stage: Stage, script: str, **variables: str) -> str:
    """What a script prints that runs inside the shop."""
    environment = {**os.environ, **stage.shop.line["env"], **variables}
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout

"""The official clients, started once, and an article that costs more than they are used to."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from dev import environment
from tests.interop.clients import KINDS, ROOT, Client, missing, started
from tests.shop import Shop

pytest.register_assert_rewrite("tests.interop.proof")

DEAR = """
from publishers.articles import writing
from publishers.models import Article
publication = Article.objects.order_by("made_at").first().publication
text = writing.draft("A dear one", "Everybody reads this.\\n\\n<!-- paywall -->\\n\\nOnly those who paid read this.")
article = writing.create_article(publication, text, writing.Prices(2_000_000, 1_500_000), by=None)
writing.publish(article)
print(article.url)
"""


@pytest.fixture(scope="session")
def clients() -> Iterator[dict[str, Client]]:
    """Those that can run here, by name."""
    with started() as running:
        yield running


@pytest.fixture(params=KINDS, ids=str)
def client(request: pytest.FixtureRequest, clients: dict[str, Client]) -> Client:
    """Each official client in turn."""
    if why := missing(request.param):
        pytest.skip(why)
    return clients[request.param.name]


@pytest.fixture(scope="session")
def dear_url(shop: Shop) -> str:
    """An article for 1.50 USD."""
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", DEAR]
    variables: dict[str, Any] = environment.for_children(shop.line["env"])
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()

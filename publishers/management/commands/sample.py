"""`manage.py sample`: publications, articles and logins to try the site with. Each run adds only what is missing."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from payments.money import format_usd
from publishers import sample
from publishers.models import Article


class Command(BaseCommand):
    """Creates the sample catalogue and prints the logins. Each run sets new passwords and a new authenticator key."""

    help = "Make sample publications, articles and logins; every run gives the three logins new passwords."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--json`."""
        parser.add_argument("--json", action="store_true", help="print one line of JSON and nothing else")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create what is missing, then print the articles and logins."""
        people = sample.people()
        made = sample.put_on_sale(people["publisher"][0])
        articles = Article.objects.filter(pk__in=[article.pk for article in made]).for_lists().order_by("made_at")
        logins = {name: {"email": user.email, "password": password} for name, (user, password) in people.items()}
        logins["admin"]["authenticator_key"] = sample.authenticator_key(people["admin"][0])
        if options["json"]:
            self.stdout.write(json.dumps({"articles": [_facts(article) for article in articles], "logins": logins}))
            return
        for article in articles:
            people_usd, agent_usd = map(format_usd, (article.people_price_micros, article.agent_price_micros))
            self.stdout.write(f"{article.url}  people {people_usd} USD, agents {agent_usd} USD  {article}")
        for name, login in logins.items():
            self.stdout.write(f"{name}: {'  '.join(login.values())}")


def _facts(article: Article) -> dict[str, Any]:
    return {
        "id": str(article.pk),
        "title": str(article),
        "url": article.url,
        "md_url": f"{article.url}.md",
        "json_url": f"{article.url}.json",
        "publication": article.publication.name,
        "people_price_micros": article.people_price_micros,
        "agent_price_micros": article.agent_price_micros,
    }

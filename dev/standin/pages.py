"""What people see: the hosted payment page, the bank's question, and the script for shops."""

from .service import Answer, Request
from .world import World


def answer(world: World, request: Request) -> Answer:
    return Answer(404, b"No such page\n", {"Content-Type": "text/plain"})

"""Chaos: one random episode of everything that buyers, banks, the post, the net and dying workers do to card money.

An episode is made by its seed alone. Its last part heals: no more accidents, what is left of the post is delivered or
lost for good, the sweeper comes, and the books are reconciled. Then every invariant of
tests/faults/cards/invariants.py holds.
"""

import logging
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from payments import gate, purses, tasks
from payments.books import ledger
from payments.cards import holds, reconciliation, sweeper, webhooks
from payments.cards.facts import NoAnswer
from payments.models import OWNED, CardRefund, Charge, Dispute, Job, Payment, PaymentState, ProcessorEvent, Setup
from tests.bank import Bank

from .accidents import Accidents, Crash
from .doings import Doings

OPERATIONS = 30
_FAULTS = [
    ("drop", "before"),
    ("drop", "after"),
    ("500", "before"),
    ("500", "after"),
    ("429", "before"),
    ("409", "before"),
]
# Events that a shop does not ask for.
_NO_NEWS = (
    "customer.",
    "payment_method.attached",
    "payment_intent.created",
    "setup_intent.created",
    "charge.succeeded",
)
# No to a person or an agent, and "later": everything else that comes out of an operation is a defect.
_ANSWERS = (purses.PurseRefused, gate.PaymentRequired, gate.PaymentInFlight, NoAnswer)

# What happened in all episodes of this run together; said at its end.
ALL_EPISODES: Counter[str] = Counter()

# What runs by itself has nobody to say no to.
_NOBODY_ASKS = ("settle", "sweep", "clear", "post")


class Episode(Doings):
    """What they do, in a random order, among accidents; and how all of it comes to rest."""

    def __init__(self, bank: Bank, seed: int, patch: pytest.MonkeyPatch) -> None:
        super().__init__(bank, seed)
        self.counts: Counter[str] = Counter()
        self.lossy = False
        self.story: list[str] = []
        self.letters: list[Any] = []
        self.earned: dict[str, int] = {}
        self.began = timezone.now() - timedelta(hours=1)
        self.accidents = Accidents(patch)
        for name in ("stripe", "httpx"):  # A line for each of some hundred requests, that nobody reads.
            patch.setattr(logging.getLogger(name), "level", logging.ERROR)
        self._ahead = timedelta()
        real = timezone.now
        patch.setattr(timezone, "now", lambda: real() + self._ahead)

    # --- Running ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """The operations, each with or without an accident."""
        with connection.execute_wrapper(self.accidents.on_statement):
            for _ in range(OPERATIONS):
                self._one()

    def _one(self) -> None:
        (name,) = self.random.choices(list(_OPERATIONS), list(_OPERATIONS.values()))
        if self.random.random() < 0.35:
            self._fault()
        if self.random.random() < 0.2:
            where, most = self.random.choice([("call", 3), ("write", 10)])
            self.accidents.light(where, self.random.randint(1, most), self.random.random() < 0.5)
        told = name
        try:
            told = f"{name}: {getattr(self, f'_{name}')()}"
        except _ANSWERS as answer:
            if name in _NOBODY_ASKS:
                raise
            told = f"{name}: {type(answer).__name__} {answer}"
        except Crash:
            told = f"{name}: crashed"
        finally:
            self.accidents.put_out()
            self.story.append(told)
        self.counts["operations"] += 1
        assert not connection.in_atomic_block
        self.earned = grown(self.earned)

    def _fault(self) -> None:
        kind, when = self.random.choice(_FAULTS)
        times = 3 if self.random.random() < 0.1 else 1
        self.bank.fault("/v1/", kind, when, times=times, skip=self.random.randint(0, 5))

    def heal(self) -> reconciliation.Report:
        """The accidents are over; what is true comes out. Returns what a second reconciliation found."""
        self.counts["faults"] += len(self.bank.http.get("faults").json()["happened"])
        self.counts["crashes"] += self.accidents.crashes
        self.bank.no_faults()
        self.lossy = self.random.random() < 1 / 3
        if self.lossy:
            self.letters = []
            self.bank.lose()
        else:
            self._deliver(self.letters + self._new_letters())
        for _ in range(2):
            self._everything_is_due()
            tasks.sweep_cards()
        first = reconciliation.reconcile()
        self.counts["healed by reconciliation"] += len(first.healed)
        self._everything_is_due()
        tasks.sweep_cards()
        self.earned = grown(self.earned)
        return reconciliation.reconcile()

    def tally(self) -> Counter[str]:
        """What has happened, in numbers."""
        came = {
            "episodes": 1,
            "that lost all that was left of the post": self.lossy,
            "charges paid": Charge.objects.filter(state="succeeded").count(),
            "of these tabs": Charge.objects.filter(state="succeeded", purpose="tab").count(),
            "charges not paid": Charge.objects.exclude(state="succeeded").count(),
            "refunds to cards": CardRefund.objects.filter(state="done").count(),
            "disputes": Dispute.objects.count(),
            "sales": Payment.objects.filter(state__in=OWNED).count(),
            "sales cleared": Payment.objects.filter(state=PaymentState.FINAL).count(),
            "articles given back": Payment.objects.filter(state=PaymentState.REFUNDED).count(),
            "calls to the processor": self.accidents.calls,
        }
        return self.counts + Counter(came)

    def _everything_is_due(self) -> None:
        now = timezone.now()
        Charge.objects.update(look_at=now)
        CardRefund.objects.update(made_at=now - timedelta(hours=1))
        Setup.objects.update(look_at=now)
        ProcessorEvent.objects.update(received_at=now - timedelta(hours=1))
        Job.objects.update(resume_at=None)

    # --- Time, the post, and those who mend ---------------------------------------------------------------

    def _time(self) -> str:
        return self._later(self.random.choice([timedelta(minutes=3), timedelta(hours=1), timedelta(days=1)]))

    def _later(self, passed: timedelta) -> str:
        self._ahead += passed
        self.bank.do("clock", advance=int(passed.total_seconds()))
        return str(passed)

    def _clear(self) -> str:
        if self.random.random() < 0.4:
            self._later(timedelta(days=8))
        return str(holds.clear())

    def _sweep(self) -> str:
        Charge.objects.update(look_at=timezone.now())
        tasks.sweep_cards()
        return ""

    def _undelivered(self) -> str:
        sweeper.fetch_undelivered()
        return str(webhooks.apply_waiting())

    def _reconcile(self) -> str:
        return str(len(reconciliation.reconcile().healed))

    def _post(self) -> str:
        self.letters += self._new_letters()
        self.random.shuffle(self.letters)
        number = self.random.randint(0, len(self.letters))
        brought, self.letters = self.letters[:number], self.letters[number:]
        self._deliver(brought)
        return f"{len(brought)} of {number + len(self.letters)}"

    def _new_letters(self) -> list[Any]:
        return [event for event in self.bank.post() if not event["type"].startswith(_NO_NEWS)]

    def _deliver(self, events: list[Any]) -> None:
        twice = [one for one in events if self.random.random() < 0.3]
        shuffled = [*events, *twice]
        self.random.shuffle(shuffled)
        for event in shuffled:
            webhooks.receive(event["payload"].encode(), event["signature"])
        webhooks.apply_waiting()

    def _lost_post(self) -> str:
        lost = len(self.letters) // 2
        self.letters = self.letters[lost:]
        return str(lost)


def grown(before: dict[str, int]) -> dict[str, int]:
    """What every publisher has earned by now, which is never less than before."""
    found = ledger.balances(Q(code__endswith=":earned", asset="USD"))
    now = {code: amount for (code, _), amount in found.items()}
    fallen = [code for code, amount in before.items() if now.get(code, 0) < amount]
    assert not fallen, f"{fallen} earned less than before: {before} {now}"
    return now


# How often each is chosen.
_OPERATIONS = {
    "top_up": 12, "direct": 4, "save_card": 2, "old_page": 5, "buy": 10, "dear": 8, "agent": 6, "give_back": 3,
    "refund": 5, "dashboard_refund": 3, "refund_fails": 2, "dispute": 4, "dispute_moves": 6, "warning": 1, "by_hand": 1,
    "settle": 9, "pay_now": 4, "authenticate": 3, "cards": 3, "join": 1, "time": 4, "clear": 5, "sweep": 6,
    "undelivered": 2, "reconcile": 2, "post": 9, "lost_post": 2,
}  # fmt: skip

"""Chaos: one random episode of everything that buyers, banks, the post, the net and dying workers do to card money.

An episode is made by its seed alone. Its last part heals: no more accidents, what is left of the post is delivered or
lost for good, the sweeper comes, and the books are reconciled. Then every invariant of tests/cards/invariants.py holds.
"""

import logging
import random
import uuid
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from payments import (
    charges,
    checkout,
    clearing,
    gate,
    ledger,
    purses,
    reconciliation,
    refunds,
    sweeper,
    tabs,
    webhooks,
)
from payments.card_facts import NoAnswer
from payments.models import OWNED, Card, CardRefund, Charge, Dispute, Payment, ProcessorEvent, Purse, Setup, State
from payments.offers import Offer

from . import till
from .accidents import Accidents, Crash
from .bank import VISA, Bank

OPERATIONS = 30
_FAULTS = [
    ("drop", "before"),
    ("drop", "after"),
    ("500", "before"),
    ("500", "after"),
    ("429", "before"),
    ("409", "before"),
]
# What people type into the hosted page: mostly what works.
_CARDS = [VISA] * 8 + [
    "4000000000000002",  # declined
    "4000000000009995",  # too little on it
    "4000002500003155",  # asks once
    "4000002760003184",  # always asks
    "4000000000000259",  # disputed at once
    "4000000000001976",  # an inquiry
    "4000000000005423",  # a fraud warning
    "4000000000005126",  # a refund that comes back
    "4000000000007726",  # a refund that takes its time
    "4000000000000077",  # money available at once
]
_TAB_CARDS = [VISA] * 3 + ["4000000000000341", "4000002760003184", "4000002500003155", "4000000000005126"]
_PRICES = [1_000, 20_000, 50_000, 333_333, 990_000, 1_500_000, 3_000_000, 3_333_333, 4_000_000, 7_000_000]
# No to a person or a program, and "later": everything else that comes out of an operation is a defect.
_ANSWERS = (purses.Refused, gate.PaymentRequired, gate.PaymentInFlight, NoAnswer)

# What happened in all episodes of this run together; said at its end.
ALL_EPISODES: Counter[str] = Counter()


class Episode:
    """A few buyers, some articles, and what happens to them."""

    def __init__(self, bank: Bank, seed: int, patch: pytest.MonkeyPatch) -> None:
        self.bank, self.seed, self.patch = bank, seed, patch
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.lossy = False
        self.story: list[str] = []
        self.pages: list[str] = []
        self.letters: list[Any] = []
        self.earned: dict[str, int] = {}
        self.began = timezone.now() - timedelta(hours=1)
        self.accidents = Accidents(patch)
        for name in ("stripe", "httpx"):  # A line for each of some hundred requests, that nobody reads.
            patch.setattr(logging.getLogger(name), "level", logging.ERROR)
        self._ahead = timedelta()
        real = timezone.now
        patch.setattr(timezone, "now", lambda: real() + self._ahead)
        self._people()

    def _people(self) -> None:
        self.offers = [
            till.offer(number, self.random.choice(_PRICES), f"publisher:{number % 3}") for number in range(1, 13)
        ]
        self.people = [till.purse(), till.purse()]
        for purse in self.people:
            self.bank.top_up(purse, self.random.choice([500, 1000, 2000]))
        limit = self.random.choice([3_000_000, 10_000_000])
        self.people.append(self.bank.tab(self.random.choice(_TAB_CARDS), limit))
        self.guest = till.purse(holder=f"guest:{uuid.uuid4()}")
        self.keys = [
            (purse, till.key(purse, day_budget_micros=5_000_000, budget_micros=20_000_000)) for purse in self.people
        ]

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
        if self.random.random() < 0.15:
            where, most = self.random.choice([("call", 4), ("write", 14)])
            self.accidents.light(where, self.random.randint(1, most), self.random.random() < 0.5)
        told = name
        try:
            told = f"{name}: {getattr(self, f'_{name}')()}"
        except _ANSWERS as answer:
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
            self._deliver(self.letters + self.bank.post())
        for _ in range(3):
            self._everything_is_due()
            sweeper.sweep()
        first = reconciliation.reconcile(self.began)
        self.counts["healed by reconciliation"] += len(first.healed)
        for _ in range(2):
            self._everything_is_due()
            sweeper.sweep()
        self.earned = grown(self.earned)
        return reconciliation.reconcile(self.began)

    def tally(self) -> Counter[str]:
        """What has happened, in numbers."""
        came = {
            "episodes": 1,
            "that lost all that was left of the post": self.lossy,
            "charges paid": Charge.objects.filter(state="succeeded").count(),
            "charges not paid": Charge.objects.exclude(state="succeeded").count(),
            "refunds to cards": CardRefund.objects.filter(state="done").count(),
            "disputes": Dispute.objects.count(),
            "sales": Payment.objects.filter(state__in=OWNED).count(),
            "sales cleared": Payment.objects.filter(state=State.FINAL).count(),
            "articles given back": Payment.objects.filter(state=State.REFUNDED).count(),
            "calls to the processor": self.accidents.calls,
        }
        return self.counts + Counter(came)

    def _everything_is_due(self) -> None:
        now = timezone.now()
        Charge.objects.update(look_at=now)
        CardRefund.objects.update(made_at=now - timedelta(hours=1))
        Setup.objects.update(made_at=now - timedelta(minutes=10))
        ProcessorEvent.objects.update(received_at=now - timedelta(hours=1))

    # --- Choosing ---------------------------------------------------------------------------------------

    def _buyer(self) -> Purse:
        buyers = [*self.people, self.guest]
        return Purse.objects.get(id=self.random.choice([one.id for one in buyers if not _joined(one)]))

    def _offer(self, least: int = 0) -> Offer:
        return self.random.choice([one for one in self.offers if one.price.amount_micros >= least] or self.offers)

    def _charge(self, **which: Any) -> Charge | None:
        found = list(Charge.objects.filter(**which).order_by("made_at", "id"))
        return self.random.choice(found) if found else None

    def _paid(self) -> str:
        """A charge that went through at the bank, whether we know of it or not; empty for none."""
        facts = self.bank.state()
        lost = {one["charge"] for one in facts.get("dispute", {}).values() if one["status"] == "lost"}
        paid = [one["id"] for one in facts.get("charge", {}).values() if one["paid"] and one["id"] not in lost]
        return self.random.choice(paid) if paid else ""

    def _ask(self, what: str, **given: Any) -> str:
        """Somebody at the bank, who may be refused: that is no mistake here."""
        answer = self.bank.http.post(what, json=given)
        assert answer.status_code in (200, 400), answer.text
        return "done" if answer.status_code == 200 else "refused there"

    # --- Money in ---------------------------------------------------------------------------------------

    def _top_up(self) -> str:
        wants = self._offer() if self.random.random() < 0.5 else None
        return self._visit(checkout.top_up(self._buyer(), self.random.choice([500, 1000, 2000]), "/", wants))

    def _direct(self) -> str:
        return self._visit(checkout.direct(self._buyer(), self._offer(3_000_000), "/"))

    def _save_card(self) -> str:
        return self._visit(checkout.save_card(self.random.choice(self.people), "/"))

    def _visit(self, url: str) -> str:
        self.pages.append(url)
        if self.random.random() < 0.15:
            return "abandoned"
        said = self._type_card(url)
        return f"{said}, {self._back(url)}" if self.random.random() < 0.6 else said

    def _type_card(self, url: str) -> str:
        answer = self.random.choice([True, True, True, False, None])
        session = url.rsplit("/", 1)[1]
        return self._ask(f"sessions/{session}/pay", card=self.random.choice(_CARDS), authenticate=answer)

    def _back(self, url: str) -> str:
        session = url.rsplit("/", 1)[1]
        if charge := Charge.objects.filter(session=session).first():
            return checkout.returned(charge.id).state
        if setup := Setup.objects.filter(session=session).first():
            return checkout.setup_returned(setup.id).state
        return "an address of nobody"

    def _old_page(self) -> str:
        if not self.pages:
            return "none"
        url = self.random.choice(self.pages)
        return self._type_card(url) if self.random.random() < 0.5 else self._back(url)

    # --- Spending ---------------------------------------------------------------------------------------

    def _buy(self) -> str:
        return str(till.press(self._buyer(), self._offer()).payment.amount_micros)

    def _program(self) -> str:
        purse, text = self.random.choice(self.keys)
        return str(till.present(text, self._offer()).payment.amount_micros)

    def _give_back(self) -> str:
        bought = list(Payment.objects.filter(rail="purse", state=State.CONFIRMED).order_by("decided_at", "id"))
        if not bought:
            return "none"
        payment = self.random.choice(bought)
        return purses.refund(payment.id, payment.debit.purse).state

    # --- Money back, and what banks do ------------------------------------------------------------------

    def _refund(self) -> str:
        purse = self._buyer()
        found = refunds.refundable(purse)
        if not found:
            return "nothing"
        charge, micros = self.random.choice(found)
        part = micros if self.random.random() < 0.5 else max(charges.CENT, micros // 3 // charges.CENT * charges.CENT)
        return refunds.to_card(purse, charge, part).state

    def _dashboard_refund(self) -> str:
        paid = self.bank.state().get("charge", {}).get(self._paid())
        if not paid:
            return "none"
        return self._ask("refund", payment_intent=paid["payment_intent"], amount=self.random.choice([100, 250, None]))

    def _refund_fails(self) -> str:
        made = list(self.bank.state().get("refund", {}))
        return self._ask(f"refunds/{self.random.choice(made)}/fail") if made else "none"

    def _dispute(self) -> str:
        kind = self.random.choice(["fraudulent", "fraudulent", "inquiry"])
        paid = self._paid()
        return self._ask("disputes", charge=paid, kind=kind) if paid else "none"

    def _dispute_moves(self) -> str:
        known = list(self.bank.state().get("dispute", {}))
        if not known:
            return "none"
        dispute = self.random.choice(known)
        if self.random.random() < 0.25:
            return self._ask(f"disputes/{dispute}/escalate")
        won = self.random.random() < 0.5
        return self._ask(f"disputes/{dispute}/close", won=won, fee_returned=self.random.random() < 0.5)

    def _warning(self) -> str:
        paid = self._paid()
        return self._ask("warnings", charge=paid) if paid else "none"

    def _by_hand(self) -> str:
        return self._ask("charge", amount=700)

    # --- The tab ----------------------------------------------------------------------------------------

    def _settle(self) -> str:
        sweeper.settle_tabs()
        return ""

    def _pay_now(self) -> str:
        charge = tabs.pay_now(self._buyer())
        return charge.state if charge else ""

    def _authenticate(self) -> str:
        charge = self._charge(state=Charge.State.ACTION)
        if charge is None:
            return "none"
        said = self._ask(f"payment_intents/{charge.intent}/authenticate", ok=self.random.random() < 0.6)
        return f"{said}, {charges.look(charge).state}" if self.random.random() < 0.6 else said

    def _cards(self) -> str:
        cards = list(Card.objects.filter(removed_at=None).order_by("id"))
        if not cards:
            return "none"
        card, act = self.random.choice(cards), self.random.choice(["use", "use", "remove", "open", "close"])
        if act == "use":
            tabs.use_card(card)
        elif act == "remove":
            tabs.remove_card(card)
        else:
            (tabs.open_tab if act == "open" else tabs.close_tab)(card.purse)
        return act

    def _join(self) -> str:
        if _joined(self.guest):
            return "already"
        purses.join(self.guest, self.random.choice(self.people))
        return ""

    # --- Time, the post, and those who mend ---------------------------------------------------------------

    def _time(self) -> str:
        passed = self.random.choice([timedelta(minutes=3), timedelta(hours=1), timedelta(days=1), timedelta(days=8)])
        self._ahead += passed
        self.bank.do("clock", advance=int(passed.total_seconds()))
        return str(passed)

    def _clear(self) -> str:
        return str(clearing.clear())

    def _sweep(self) -> str:
        Charge.objects.update(look_at=timezone.now())
        sweeper.sweep()
        return ""

    def _undelivered(self) -> str:
        sweeper.fetch_undelivered()
        return str(webhooks.apply_waiting())

    def _reconcile(self) -> str:
        return str(len(reconciliation.reconcile(self.began).healed))

    def _post(self) -> str:
        self.letters += self.bank.post()
        self.random.shuffle(self.letters)
        number = self.random.randint(0, len(self.letters))
        brought, self.letters = self.letters[:number], self.letters[number:]
        self._deliver(brought)
        return f"{len(brought)} of {number + len(self.letters)}"

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


def _joined(purse: Purse) -> bool:
    return Purse.objects.filter(id=purse.id).exclude(joined_to=None).exists()


def grown(before: dict[str, int]) -> dict[str, int]:
    """What every publisher has earned by now, which is never less than before."""
    found = ledger.balances(Q(code__endswith=":earned", asset="USD"))
    now = {code: amount for (code, _), amount in found.items()}
    fallen = [code for code, amount in before.items() if now.get(code, 0) < amount]
    assert not fallen, f"{fallen} earned less than before: {before} {now}"
    return now


# How often each is chosen.
_OPERATIONS = {
    "top_up": 12, "direct": 4, "save_card": 2, "old_page": 5, "buy": 14, "program": 7, "give_back": 3, "refund": 5,
    "dashboard_refund": 3, "refund_fails": 2, "dispute": 4, "dispute_moves": 6, "warning": 1, "by_hand": 1, "settle": 6,
    "pay_now": 3, "authenticate": 3, "cards": 3, "join": 1, "time": 5, "clear": 4, "sweep": 5, "undelivered": 2,
    "reconcile": 2, "post": 9, "lost_post": 2,
}  # fmt: skip

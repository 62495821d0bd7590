"""What people and banks do in an episode of chaos: pay or not, buy, give back, dispute, refund by hand, change cards.

Each operation is one method without arguments that says what came of it; whom and what it is about is drawn.
"""

import random
import uuid
from typing import Any

from payments import fulfilment, purses
from payments.cards import charges, checkout, refunds, tabs
from payments.models import Card, Charge, Payment, PaymentState, Purse, Setup
from payments.offers import Offer
from payments.purses import joining
from tests import buyers
from tests.bank import VISA, Bank

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


class Doings:
    """A few buyers with their agents, some articles, and a bank."""

    def __init__(self, bank: Bank, seed: int) -> None:
        self.bank = bank
        self.random = random.Random(seed)
        self.pages: list[str] = []
        self.offers = [
            buyers.offer(number, self.random.choice(_PRICES), f"publisher:{number % 3}") for number in range(1, 31)
        ]
        self.people = [buyers.purse()]
        self.bank.top_up(self.people[0], self.random.choice([500, 1000, 2000]))
        for limit in (3_000_000, 10_000_000):
            self.people.append(self.bank.tab(self.random.choice(_TAB_CARDS), limit))
            if self.random.random() < 0.7:  # Due at once.
                buyers.press(self.people[-1], buyers.offer(limit, limit * 9 // 10))
        self.guest = buyers.purse(owner=f"guest:{uuid.uuid4()}")
        self.keys = [
            (purse, buyers.key(purse, day_budget_micros=5_000_000, budget_micros=20_000_000)) for purse in self.people
        ]

    # --- Choosing ---------------------------------------------------------------------------------------

    def _buyer(self) -> Purse:
        everybody = [*self.people, self.guest]
        return Purse.objects.get(id=self.random.choice([one.id for one in everybody if not _joined(one)]))

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
            return fulfilment.returned(charge.id).state
        if setup := Setup.objects.filter(session=session).first():
            return f"{checkout.setup_returned(setup.id).state}, a tab: {self._opens_tab(setup.purse_id)}"
        return "an address of nobody"

    @staticmethod
    def _opens_tab(purse_id: Any) -> bool:
        purse = Purse.objects.get(id=purse_id)
        agreed = tabs.terms(purse)
        return agreed is not None and tabs.open_tab(purse, agreed.name)

    def _old_page(self) -> str:
        if not self.pages:
            return "none"
        url = self.random.choice(self.pages)
        return self._type_card(url) if self.random.random() < 0.5 else self._back(url)

    # --- Spending ---------------------------------------------------------------------------------------

    def _buy(self) -> str:
        return str(buyers.press(self._buyer(), self._offer()).payment.amount_micros)

    def _dear(self) -> str:
        """On a tab, which is soon due."""
        purse = Purse.objects.get(id=self.random.choice(self.people[1:]).id)
        return str(buyers.press(purse, self._offer(1_500_000)).payment.amount_micros)

    def _agent(self) -> str:
        purse, text = self.random.choice(self.keys)
        return str(buyers.present(text, self._offer()).payment.amount_micros)

    def _give_back(self) -> str:
        bought = list(Payment.objects.filter(rail="purse", state=PaymentState.CONFIRMED).order_by("decided_at", "id"))
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
        charge, micros, _ = self.random.choice(found)
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
        tabs.charge_due()
        tabs.dun()
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
        elif act == "open":
            return f"open: {self._opens_tab(card.purse_id)}"
        else:
            tabs.close_tab(card.purse)
        return act

    def _join(self) -> str:
        if _joined(self.guest):
            return "already"
        joining.join(self.guest, self.random.choice(self.people))
        return ""


def _joined(purse: Purse) -> bool:
    return Purse.objects.filter(id=purse.id).exclude(joined_to=None).exists()

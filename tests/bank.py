"""The processor from the tests' side: what buyers, banks and the post do. The product comes by the official SDK."""

from typing import Any

from dev.standin import WEBHOOK_SECRET, Standin
from payments import fulfilment, tasks
from payments.books import ledger
from payments.cards import checkout, reconciliation, webhooks
from payments.models import Charge, Job, ProcessorEvent, Purse, Setup, Transaction
from payments.offers import Offer

from . import buyers, local

CENT = 10_000
VISA = "4242424242424242"
# Ways in which an answer is lost, as (kind, when) of `Bank.fault`: before or after the call had its effect.
FAULTS = [("drop", "before"), ("drop", "after"), ("500", "before"), ("500", "after"), ("429", "before")]


class Bank:
    """One emptied stand-in."""

    def __init__(self, standin: Standin, settings: Any) -> None:
        self.settings = settings
        self.http = local.client(f"{standin.url}/_fake/", timeout=30)
        self.url = standin.url
        settings.STRIPE_SECRET_KEY = standin.secret_key
        settings.STRIPE_PUBLISHABLE_KEY = standin.publishable_key
        settings.STRIPE_WEBHOOK_SECRET = WEBHOOK_SECRET
        settings.STRIPE_API_BASE = standin.url
        settings.STRIPE_CHECKOUT_ORIGIN = standin.url
        settings.STRIPE_JS_URL = f"{standin.url}/stripe.js"
        settings.STRIPE_STAND_IN = True
        settings.STRIPE_TIMEOUT_SECONDS = 3
        settings.CHECKOUTS_PER_HOUR = 1000
        self.do("webhooks/configure", url="http://127.0.0.1:9/nobody", secret=WEBHOOK_SECRET)
        self.do("reset")
        self.do("webhooks", mode="hold")
        self.do("settings", settle_after=0)

    def close(self) -> None:
        bugs = self.state()["bugs"]
        self.http.close()
        assert bugs == []

    def do(self, what: str, **given: Any) -> Any:
        """A control. What it refuses is a mistake of the test."""
        answer = self.http.post(what, json=given)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self) -> Any:
        return self.http.get("state").json()

    def requests(self, path: str = "") -> list[Any]:
        """What the product has asked, to paths that contain this."""
        return [one for one in self.http.get("log").json()["requests"] if path in one["path"]]

    def fault(self, path: str, kind: str, when: str = "before", times: int = 1, **more: Any) -> None:
        answer = self.http.post("faults", json={"path": path, "kind": kind, "when": when, "times": times, **more})
        assert answer.status_code == 200, answer.text

    def no_faults(self) -> None:
        self.http.delete("faults")

    # --- Money in ---------------------------------------------------------------------------------------

    def pay(self, url: str, card: str = VISA, **more: Any) -> Any:
        """What a person does on the hosted page at this address."""
        return self.do(f"sessions/{url.rsplit('/', 1)[1]}/pay", card=card, **more)

    def top_up(self, purse: Purse, cents: int = 500, wants: Offer | None = None, card: str = VISA) -> Charge:
        """Filled through the hosted page, and back. A buyer who fills only the balance keeps the card."""
        url = checkout.top_up(purse, cents, "/", wants) if wants else checkout.top_up_keeping_card(purse, cents, "/")
        assert self.pay(url, card)["paid"]
        return fulfilment.returned(newest(purse).id)

    def tab(self, card: str = VISA, limit: int = 20_000_000) -> Purse:
        """A buyer with a saved card, who may owe so much."""
        purse = buyers.purse()
        Purse.objects.filter(id=purse.id).update(email=f"{purse.id}@example.org")
        purse.refresh_from_db()
        url = checkout.save_card(purse, "/")
        assert self.pay(url, card)["paid"]
        assert checkout.setup_returned(Setup.objects.get(purse=purse).id).state == "done"
        buyers.open_tab(purse)
        Purse.objects.filter(id=purse.id).update(tab_limit_micros=limit)
        purse.refresh_from_db()
        return purse

    def owing(self, cents: int = 600, card: str = VISA) -> Purse:
        """A buyer whose tab is due."""
        purse = self.tab(card)
        buyers.press(purse, buyers.offer(int(purse.id.int % 10**9), cents * CENT))
        purse.refresh_from_db()
        return purse

    # --- The post ---------------------------------------------------------------------------------------

    def post(self) -> list[Any]:
        """The signed webhooks that wait, the oldest first; taken out."""
        return list(self.do("webhooks/take")["events"])

    def bring(self, events: list[Any] | None = None) -> None:
        """Deliver webhooks (those that wait), and have them applied."""
        for event in self.post() if events is None else events:
            webhooks.receive(event["payload"].encode(), event["signature"])
        webhooks.apply_waiting()
        fulfilment.fulfil_paid()
        assert not ProcessorEvent.objects.filter(applied_at=None, failures=0).exists()

    def lose(self) -> None:
        """The webhooks that wait never arrive."""
        self.do("webhooks/forget")

    # --- At the end -------------------------------------------------------------------------------------

    def later(self, **more: Any) -> None:
        """Time passes for everything unfinished, and the sweeper comes."""
        make_due()
        tasks.sweep_cards()

    def agrees(self) -> reconciliation.Report:
        """Two reconciliations: the second finds nothing to heal, and both books are equal to the cent."""
        reconciliation.reconcile()
        report = reconciliation.reconcile()
        assert report.healed == []
        assert report.clean, report
        assert -ledger.balance("world:stripe", "USD") == self.holds()
        return report

    def holds(self) -> int:
        """What the processor has for us, in micros."""
        balance = self.state()["balance"]
        return sum(part["amount"] for kind in ("available", "pending") for part in balance[kind]) * CENT


def make_due() -> None:
    """Everything that waits for its time has it now."""
    from django.utils import timezone

    Charge.objects.update(look_at=timezone.now())
    Job.objects.update(resume_at=None)


def newest(purse: Purse) -> Charge:
    return Charge.objects.filter(purse=purse).latest("id")


def paid_once(bank: Bank, purse: Purse, micros: int) -> None:
    """One success, one entry, one amount; and the processor's books say the same."""
    rows = Charge.objects.filter(purse=purse, state="succeeded")
    assert [row.amount_micros for row in rows] == [micros]
    succeeded = [one for one in bank.state().get("charge", {}).values() if one["paid"]]
    assert sum(one["amount"] for one in succeeded) * CENT == micros
    assert Transaction.objects.filter(kind="card_paid").count() == 1
    bank.agrees()

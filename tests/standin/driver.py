"""What the tests of the stand-in say often. Only the official SDK and plain HTTP reach it."""

from typing import Any

import stripe

from dev.standin import Standin
from tests import local


class Driver:
    """The official client, the controls, and a few purchases."""

    def __init__(self, standin: Standin) -> None:
        self.url, self.key, self.public_key = standin.url, standin.secret_key, standin.publishable_key
        self.http = local.client(standin.url)
        self._requests = stripe.RequestsClient()
        self.stripe = self.client(self.key)
        self.v1 = self.stripe.v1

    def client(self, key: str) -> stripe.StripeClient:
        return stripe.StripeClient(
            key, base_addresses={"api": self.url}, max_network_retries=0, http_client=self._requests
        )

    def close(self) -> None:
        self.http.close()
        self._requests.close()

    def fake(self, method: str, path: str, given: Any = None) -> Any:
        """A control. What it refuses is a mistake of the test."""
        answer = self.http.request(method, f"/_fake/{path}", json=given if given is not None else {})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def customer(self, card: str | None = None) -> stripe.Customer:
        made = self.v1.customers.create({"email": "buyer@example.com"})
        if card:
            self.v1.payment_methods.attach(card, {"customer": made.id})
        return made

    def card_of(self, customer: stripe.Customer) -> str:
        return self.v1.customers.payment_methods.list(customer.id).data[0].id

    def created(self, amount: int = 500, **fields: Any) -> stripe.PaymentIntent:
        return self.v1.payment_intents.create({"amount": amount, "currency": "usd", **fields})

    def bought(self, card: str = "pm_card_visa", amount: int = 500, **fields: Any) -> stripe.PaymentIntent:
        """Created, then confirmed with the buyer there."""
        intent = self.created(amount, **fields)
        confirmation = {"payment_method": card, "return_url": "https://shop.example/back"}
        return self.v1.payment_intents.confirm(intent.id, confirmation)

    def away(self, card: str, customer: str, amount: int = 500) -> stripe.PaymentIntent:
        """Created, then confirmed with the buyer away."""
        intent = self.created(amount, customer=customer)
        return self.v1.payment_intents.confirm(intent.id, {"payment_method": card, "off_session": True})

    def charge(self, intent: stripe.PaymentIntent) -> stripe.Charge:
        """As it is now, with its balance transaction."""
        return self.v1.charges.retrieve(str(intent.latest_charge), {"expand": ["balance_transaction"]})

    def events(self) -> list[str]:
        """The kinds, oldest first."""
        return [event.type for event in reversed(self.v1.events.list({"limit": 100}).data)]

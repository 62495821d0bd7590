"""Charges, refunds, disputes and fraud warnings, and the balance they move. Whole cents everywhere."""

from typing import Any

from . import cards, shapes
from .refusals import invalid
from .world import DAY, World

Object = dict[str, Any]
DISPUTE_FEE = 1_500
CLOSED = ("won", "lost", "warning_closed", "prevented")


def fee(amount: int) -> int:
    """2.9 % and 30 cents, the percentage rounded half up to a cent."""
    return (amount * 29 + 500) // 1_000 + 30


def post(world: World, kind: str, amount: int, fee: int, source: Object) -> Object:
    return world.add("balance_transaction", shapes.balance_transaction(world, kind, amount, fee, source))


def balance(world: World) -> Object:
    """Available and pending by now; what is available on a later day is pending."""
    ready = sum(t["net"] for t in world.all("balance_transaction") if t["available_on"] <= world.now())
    pending = sum(t["net"] for t in world.all("balance_transaction")) - ready
    line = lambda amount: [{"amount": amount, "currency": "usd", "source_types": {"card": amount}}]  # noqa: E731
    return {"object": "balance", "available": line(ready), "livemode": False, "pending": line(pending)}


def charge(world: World, intent: Object, method: Object, amount: int) -> Object:
    """A charge that the issuer approved. The caller captures it or leaves it authorized."""
    made = world.add("charge", _charge(world, intent, method, amount))
    made["payment_method_details"]["card"]["checks"]["cvc_check"] = "pass"
    return made


def declined(world: World, intent: Object, method: Object, decline: str) -> Object:
    """A charge that the issuer refused: it stays as a record and moves no money."""
    made = world.add("charge", _charge(world, intent, method, intent["amount"]))
    error = cards.decline_error(decline)
    made |= {"paid": False, "status": "failed", "failure_code": error["code"], "failure_message": error["message"]}
    made["outcome"] |= {"network_status": "declined_by_network", "reason": decline, "type": "issuer_declined",
                        "seller_message": "The bank did not return any further details with this decline.",
                        "advice_code": error.get("advice_code")}  # fmt: skip
    world.announce("charge.failed", made)
    return made


def _charge(world: World, intent: Object, method: Object, amount: int) -> Object:
    copied = {name: intent[name] for name in ("customer", "description", "receipt_email", "statement_descriptor",
                                              "statement_descriptor_suffix", "transfer_group")}  # fmt: skip
    made = {**shapes.charge(world, amount, intent["currency"], method), **copied}
    return {**made, "payment_intent": intent["id"], "metadata": dict(intent["metadata"])}


def capture(world: World, charged: Object, amount: int, at_once: bool) -> None:
    """Takes the money. Unless `at_once`, its balance transaction follows with `charge.updated`."""
    charged |= {"captured": True, "amount_captured": amount}
    if at_once:
        settle(world, charged)
    else:
        world.later(lambda: _settle_late(world, charged))
    card = cards.CARDS[charged["_card"]]
    if card.dispute:
        world.later(lambda: open_dispute(world, charged, None, card.dispute))
    if card.fraud_warning:
        world.later(lambda: warn(world, charged))


def release(world: World, intent: Object) -> None:
    """What was held and never taken is given up: the charge counts as refunded, and no money ever moved."""
    for charged in world.all("charge", payment_intent=intent["id"], status="succeeded", captured=False):
        charged |= {"refunded": True, "amount_refunded": charged["amount"]}
        world.announce("charge.refunded", charged)


def _settle_late(world: World, charged: Object) -> None:
    if charged["balance_transaction"] is None:
        settle(world, charged)
        world.announce("charge.updated", charged, {"balance_transaction": None})


def settle(world: World, charged: Object) -> None:
    """The charge's balance transaction: fee taken, funds available in two days."""
    amount = charged["amount_captured"]
    made = post(world, "charge", amount, fee(amount), charged)
    made["available_on"] += 0 if cards.CARDS[charged["_card"]].bypass else 2 * DAY
    charged["balance_transaction"] = made["id"]


def _drawn_on(world: World, charged: Object) -> int:
    """When money that goes back out counts: it comes from this charge's funds while they are pending."""
    _settle_late(world, charged)
    funds = world.get("balance_transaction", charged["balance_transaction"])
    return int(max(world.now(), funds["available_on"]))


def refund(world: World, charged: Object, amount: int | None, fields: Object) -> Object:
    """Gives back some or all of what was captured and not yet given back; the fee is kept."""
    left = charged["amount_captured"] - charged["amount_refunded"]
    if not charged["captured"]:
        raise invalid(f"Charge {charged['id']} has not been captured; cancel its PaymentIntent.", "charge")
    if disputed := [d for d in world.all("dispute", charge=charged["id"]) if not _refundable(d)]:
        message = f"Charge {charged['id']} has been charged back; cannot issue a refund. See {disputed[0]['id']}."
        raise invalid(message, code="charge_disputed")
    if left == 0:
        raise invalid(f"Charge {charged['id']} has already been refunded.", code="charge_already_refunded")
    amount = left if amount is None else amount
    if amount < 1:
        raise invalid("Invalid positive integer", "amount", "parameter_invalid_integer")
    if amount > left:
        message = f"Refund amount (${amount / 100:.2f}) is greater than unrefunded amount on charge (${left / 100:.2f})"
        raise invalid(message, "amount")
    made = world.add("refund", {**shapes.refund(world, amount, charged), **fields})
    kind = cards.CARDS[charged["_card"]].refund
    when = _drawn_on(world, charged)
    moved = post(world, "refund", -amount, 0, {**made, "description": "REFUND FOR CHARGE"})
    moved["available_on"] = when
    made["balance_transaction"] = moved["id"]
    charged["amount_refunded"] += amount
    charged["refunded"] = charged["amount_refunded"] == charged["amount_captured"]
    if kind == "pending":
        made["status"] = "pending"
        world.later(lambda: _refund_arrives(world, made))
    world.announce("refund.created", made)
    world.announce("charge.refunded", charged)
    if kind == "fails":
        world.later(lambda: fail_refund(world, made, "unknown"))
    _close_inquiries(world, charged)
    return made


def _refundable(dispute: Object) -> bool:
    return bool(dispute["is_charge_refundable"]) or dispute["status"] in ("won", "warning_closed")


def _refund_arrives(world: World, made: Object) -> None:
    if made["status"] == "pending":
        made["status"] = "succeeded"
        world.announce("refund.updated", made, {"status": "pending"})


def fail_refund(world: World, made: Object, reason: str) -> None:
    """The buyer's bank sends the money back: it returns to the balance, and the charge counts as not refunded."""
    if made["status"] not in ("pending", "succeeded"):
        raise invalid(f"Refund {made['id']} is {made['status']}.")
    before, charged = made["status"], world.get("charge", made["charge"])
    moved = post(world, "refund_failure", made["amount"], 0, {**made, "description": "REFUND FAILURE"})
    moved["available_on"] = _drawn_on(world, charged)
    made |= {"status": "failed", "failure_reason": reason, "failure_balance_transaction": moved["id"]}
    charged["amount_refunded"] -= made["amount"]
    charged["refunded"] = False
    for kind in ("refund.updated", "charge.refund.updated", "refund.failed"):
        world.announce(kind, made, {"status": before} if kind != "refund.failed" else None)


def open_dispute(world: World, charged: Object, amount: int | None, reason: str) -> Object:
    """The buyer's bank disputes the charge. Anything but an inquiry takes the money and the dispute fee at once."""
    left = charged["amount_captured"] - charged["amount_refunded"]
    amount = left if amount is None else amount
    if not charged["captured"] or not 0 < amount <= charged["amount_captured"]:
        raise invalid("Only captured money that is still there can be disputed.", "amount")
    if any(d["status"] not in CLOSED for d in world.all("dispute", charge=charged["id"])):
        raise invalid(f"Charge {charged['id']} has an open dispute already.", "charge")
    _settle_late(world, charged)
    made = world.add("dispute", shapes.dispute(world, amount, charged, reason))
    charged["disputed"] = True
    world.announce("charge.dispute.created", made)
    if reason != "inquiry":
        _withdraw(world, made)
    return made


def _withdraw(world: World, made: Object) -> None:
    _book(world, made, -made["amount"], DISPUTE_FEE)
    made["is_charge_refundable"] = False
    world.announce("charge.dispute.funds_withdrawn", made)


def _book(world: World, made: Object, amount: int, fee: int) -> None:
    described = {**made, "description": f"Chargeback {'withdrawal' if amount < 0 else 'reversal'} for {made['charge']}"}
    moved = post(world, "adjustment", amount, fee, described)
    moved["reporting_category"] = "dispute" if amount < 0 else "dispute_reversal"
    made["balance_transactions"] = [*made["balance_transactions"], moved]


def escalate(world: World, made: Object) -> None:
    """An inquiry becomes a chargeback, and the money goes."""
    if not made["status"].startswith("warning_") or made["status"] == "warning_closed":
        raise invalid(f"Dispute {made['id']} is {made['status']}.")
    before, made["status"] = made["status"], "needs_response"
    made["payment_method_details"]["card"]["case_type"] = "chargeback"
    world.announce("charge.dispute.updated", made, {"status": before})
    _withdraw(world, made)


def close_dispute(world: World, made: Object, won: bool, fee_returned: bool = False) -> None:
    """The end of a dispute. Won: the amount comes back, and the fee too when `fee_returned`."""
    if made["status"] in CLOSED:
        raise invalid(f"Dispute {made['id']} is already closed.", code="dispute_already_closed")
    if made["status"].startswith("warning_"):
        made["status"] = "warning_closed"
    elif won:
        made["status"] = "won"
        _book(world, made, made["amount"], -DISPUTE_FEE if fee_returned else 0)
        world.announce("charge.dispute.funds_reinstated", made)
    else:
        made["status"] = "lost"
    world.announce("charge.dispute.closed", made)


def _close_inquiries(world: World, charged: Object) -> None:
    """A full refund ends an inquiry."""
    for made in world.all("dispute", charge=charged["id"]):
        if charged["refunded"] and made["status"].startswith("warning_") and made["status"] != "warning_closed":
            close_dispute(world, made, won=False)


def submit_evidence(world: World, made: Object) -> None:
    """What the words `winning_evidence` and `losing_evidence` decide a moment later; other words stay under review."""
    inquiry = made["status"].startswith("warning_")
    before, made["status"] = made["status"], "warning_under_review" if inquiry else "under_review"
    details = made["evidence_details"]
    details["submission_count"] += 1
    details["submission_method"] = "manual"
    world.announce("charge.dispute.updated", made, {"status": before})
    verdict = {"winning_evidence": True, "losing_evidence": False}.get(made["evidence"]["uncategorized_text"] or "")
    if verdict is not None:
        world.later(lambda: None if made["status"] in CLOSED else close_dispute(world, made, verdict))


def warn(world: World, charged: Object) -> Object:
    made = world.add("radar.early_fraud_warning", shapes.fraud_warning(world, charged))
    world.announce("radar.early_fraud_warning.created", made)
    return made

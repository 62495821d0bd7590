"""Known mistakes about card money, each planted into the running product from outside, and who has to notice.

`plant` takes pytest's monkeypatch and returns the list in which the mistake notes that it was made: one that is never
reached proves nothing.
"""

import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import stripe
from django.db import connection
from django.db.models import F
from django.utils import timezone

from payments import purses
from payments.books import ledger
from payments.cards import charges, disputes, holds, refunds, stripe_api, sweeper, tabs, webhooks
from payments.cards.facts import Event, NoAnswer, ServerTrouble
from payments.models import Charge, Purse

Patch = pytest.MonkeyPatch
Noted = list[str]


@dataclass(frozen=True)
class Mutant:
    """One mistake: how to make it, the scenario that must fail with it, and what that scenario is given."""

    name: str
    plant: Callable[[Patch], Noted]
    scenario: str
    given: tuple[str, ...] = ()


def _wrap(patch: Patch, module: Any, name: str, mistaken: Callable[..., Any]) -> Noted:
    """`mistaken(real, *args, **kwargs)` instead of the function of this name."""
    noted: Noted = []
    real = getattr(module, name)

    def wrong(*args: Any, **kwargs: Any) -> Any:
        noted.append(name)
        return mistaken(real, *args, **kwargs)

    patch.setattr(module, name, wrong)
    return noted


# --- One call that creates and confirms ----------------------------------------------------------------------


def _one_call(key: Callable[[Charge], str]) -> Callable[[Patch], Noted]:
    """The usual way: the intent is confirmed by the call that creates it."""

    def create(real: Any, charge: Charge) -> None:
        params = {
            "amount": charge.amount_micros // charges.CENT, "currency": "usd", "customer": charge.purse.customer,
            "payment_method": charge.card.stripe_card_id, "confirm": True, "off_session": True,
            "metadata": {"charge": str(charge.id)}, "expand": ["latest_charge.balance_transaction"],
        }  # fmt: skip
        try:
            made = stripe_api._call(lambda v1: v1.payment_intents.create(params, {"idempotency_key": key(charge)}))
        except ServerTrouble:
            charges._renew(charge)
        except NoAnswer:
            return
        else:
            charges.step(charge, (Charge.State.NEW,), state=Charge.State.CREATED, intent=made.id)
            charges.apply(stripe_api.intent(made.id))

    return lambda patch: _wrap(patch, charges, "_create", create)


def _key_kept_after_a_5xx(patch: Patch) -> Noted:
    return _wrap(patch, charges, "_renew", lambda real, charge: None)


def _one_key_for_all_attempts(patch: Patch) -> Noted:
    def confirm(real: Any, intent: str, card: str, key: str) -> Any:
        return real(intent, card, re.sub(r"confirm-\d+", "confirm-0", key))

    return _wrap(patch, stripe_api, "confirm_intent", confirm)


def _sent_again_without_looking(patch: Patch) -> Noted:
    """Whatever was not answered is made again, as a new payment."""

    def finish(real: Any, charge: Charge) -> None:
        row = Charge.objects.filter(id=charge.id, purpose="tab", state__in=("created", "confirming"))
        row.update(intent="", state="new", renewal=F("renewal") + 1)
        charges.drive(charge)

    return _wrap(patch, sweeper, "_finish", finish)


# --- What is believed ----------------------------------------------------------------------------------------


def _the_events_own_copy_is_believed(patch: Patch) -> Noted:
    def look(real: Any, event: Any) -> None:
        if event.about.split("_", 1)[0] not in ("pi", "re", "dp", "du"):
            return real(event)
        copy = stripe.Event.construct_from(json.loads(event.body), "").data.object
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(stripe_api, "_call", lambda call: copy)
            return real(event)

    return _wrap(patch, webhooks, "_look", look)


def _signatures_are_not_checked(patch: Patch) -> Noted:
    def read(real: Any, body: bytes, signature: str) -> Event:
        event = stripe.Event.construct_from(json.loads(body), "")
        return Event(event.id, event.type, stripe_api._about(event), body.decode())

    return _wrap(patch, stripe_api, "read_event", read)


def _old_signatures_are_good(patch: Patch) -> Noted:
    return _wrap(
        patch,
        stripe.Webhook,
        "construct_event",
        lambda real, body, signature, secret: real(body, signature, secret, tolerance=10**6),
    )


def _success_can_be_left(patch: Patch) -> Noted:
    def succeeded(real: Any, charge: Charge, found: Any) -> None:
        Charge.objects.filter(id=charge.id).update(state=Charge.State.CONFIRMING)
        real(charge, found)

    return _wrap(patch, charges, "_succeeded", succeeded)


def _nobody_sweeps(patch: Patch) -> Noted:
    return _wrap(patch, sweeper, "_finish", lambda real, charge: None)


def _unknown_intents_are_nobodys(patch: Patch) -> Noted:
    return _wrap(
        patch, charges, "_charge_of", lambda real, found: Charge.objects.filter(intent=found.id or "none").first()
    )


# --- Locks and uniqueness ------------------------------------------------------------------------------------


def _tabs_are_settled_unguarded(patch: Patch) -> Noted:
    """Nobody looks for a live charge, the database allows two of them, and the processor takes its time."""
    drive = charges.drive
    patch.setattr(charges, "drive", lambda charge: time.sleep(0.3) or drive(charge))
    (guard,) = [one for one in Charge._meta.constraints if one.name == "charge_one_live_tab"]
    with connection.schema_editor() as editor:
        editor.remove_constraint(Charge, guard)
    if connection.vendor == "sqlite":
        _sqlites_second_guard("DROP TRIGGER charge_no_replace")
    return _wrap(patch, tabs, "live_charge", lambda real, purse: None)


def restore_the_guard() -> None:
    """After the mutant that takes it away."""
    (guard,) = [one for one in Charge._meta.constraints if one.name == "charge_one_live_tab"]
    Charge.objects.filter(purpose="tab", state__in=Charge.LIVE).update(state="canceled")
    with connection.schema_editor() as editor:
        editor.add_constraint(Charge, guard)
    if connection.vendor == "sqlite":
        _sqlites_second_guard(_TAKEN_OUT.pop())


_TAKEN_OUT: list[str] = []


def _sqlites_second_guard(statement: str) -> None:
    """The trigger there against INSERT OR REPLACE says what the index says."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'charge_no_replace'")
        _TAKEN_OUT.extend(sql for (sql,) in cursor.fetchall())
        cursor.execute(statement)


def _entries_are_not_unique(patch: Patch) -> Noted:
    patch.setattr(ledger, "posted", lambda key: False)
    return _wrap(
        patch, ledger, "post", lambda real, kind, key, moves, asset: real(kind, f"{key}:{uuid.uuid4()}", moves, asset)
    )


def _disputes_are_entered_once_each(patch: Patch) -> Noted:
    """By the dispute's name, not by its balance transactions'."""
    return _wrap(
        patch,
        disputes,
        "_book",
        lambda real, dispute, purse, money: real(dispute, purse, replace(money, id=dispute.id)),
    )


def _refunds_are_not_looked_for(patch: Patch) -> Noted:
    """After no answer the same refund is asked for again, under a fresh key."""
    patch.setattr(refunds.stripe_api, "refunds_of", lambda intent: [])
    return _wrap(
        patch, stripe_api, "refund", lambda real, intent, cents, name, key: real(intent, cents, name, str(uuid.uuid4()))
    )


# --- The purse -----------------------------------------------------------------------------------------------


def _money_without_an_entry(patch: Patch) -> Noted:
    return _wrap(
        patch,
        ledger,
        "post",
        lambda real, kind, *rest, **more: None if kind == "card_paid" else real(kind, *rest, **more),
    )


def _an_entry_without_money(patch: Patch) -> Noted:
    return _wrap(patch, purses, "move", lambda real, *given, **more: True)


def _limits_are_not_kept(patch: Patch) -> Noted:
    return _wrap(patch, purses, "move", lambda real, purse_id, micros, floor=False: real(purse_id, micros))


def _disputes_freeze_nothing(patch: Patch) -> Noted:
    return _wrap(patch, disputes, "_flag", lambda real, purse: None)


def _losses_are_not_entered(patch: Patch) -> Noted:
    return _wrap(patch, disputes, "_lost", lambda real, dispute, purse: None)


def _flagged_tabs_are_charged_again(patch: Patch) -> Noted:
    """Dunning begins anew with every round."""

    def fail(real: Any, charge: Charge, code: str, state: str) -> None:
        real(charge, code, state)
        Purse.objects.filter(id=charge.purse_id).update(flag="")

    return _wrap(patch, charges, "_fail", fail)


def _stolen_cards_are_tried_again(patch: Patch) -> Noted:
    patch.setattr(charges, "_HARD", set())
    return _wrap(patch, charges, "_declined", lambda real, charge, code, advice, failed: real(charge, code, "", failed))


# --- Clearing ------------------------------------------------------------------------------------------------


def _the_hold_is_ignored(patch: Patch) -> Noted:
    noted: Noted = []

    def no_time(**given: Any) -> timedelta:
        noted.append("timedelta")
        return timedelta(0)

    patch.setattr(holds, "timedelta", no_time)
    return noted


def _funds_are_not_waited_for(patch: Patch) -> Noted:
    """Card money counts as ours the moment it is paid."""
    return _wrap(
        patch,
        charges,
        "_cleared_terms",
        lambda real, charge_id, found: real(charge_id, replace(found, available_at=timezone.now())),
    )


_S05 = "test_failed_after_succeeded_and_a_new_card_during_dunning"
_S09 = "test_an_answer_that_is_lost_charges_once"
_S01 = "test_a_webhook_after_our_own_result_changes_nothing"
_S03 = "test_without_any_webhook_the_sweeper_reaches_the_same_end"
_S08 = "test_forged_stale_and_foreign_webhooks_are_refused_and_nothing_is_stored"
_S12 = "test_a_declined_tab_is_tried_after_one_three_and_five_days_and_then_no_more"
_S16 = "test_a_lost_chargeback_takes_balance_then_pending_sales_and_the_rest_is_a_loss_in_the_books"
_CLEARING = "test_pending_becomes_earned_when_hold_funds_and_order_allow"
_CREATE, _CONFIRM = r"/v1/payment_intents$", "/confirm$"

ALL = (
    Mutant("one call, without a key", _one_call(lambda charge: str(uuid.uuid4())), _S09, (_CREATE, "drop", "after")),
    Mutant(
        "one call, a fresh key after each 5xx",
        _one_call(lambda charge: f"cc-{charge.id}-{charge.renewal}"),
        _S09,
        (_CREATE, "500", "after"),
    ),
    Mutant("the key kept after a 5xx", _key_kept_after_a_5xx, _S09, (_CREATE, "500", "before")),
    Mutant("the key kept after a 5xx of the confirmation", _key_kept_after_a_5xx, _S09, (_CONFIRM, "500", "before")),
    Mutant("one key for all attempts", _one_key_for_all_attempts, _S12),
    Mutant("one key for all attempts, with a new card", _one_key_for_all_attempts, _S05),
    Mutant("made again without looking", _sent_again_without_looking, _S09, (_CONFIRM, "drop", "after")),
    Mutant("the event's own copy", _the_events_own_copy_is_believed, "test_a_dispute_closed_before_it_was_opened"),
    Mutant(
        "no signature checked",
        _signatures_are_not_checked,
        _S08,
    ),
    Mutant(
        "old signatures are good",
        _old_signatures_are_good,
        _S08,
    ),
    Mutant("success can be left", _success_can_be_left, _S01),
    Mutant("nobody sweeps", _nobody_sweeps, _S03),
    Mutant(
        "unknown intents are nobody's",
        _unknown_intents_are_nobodys,
        "test_a_webhook_before_we_stored_the_intent_is_adopted_by_our_own_id",
    ),
    Mutant("tabs settled unguarded", _tabs_are_settled_unguarded, "test_twelve_workers_settle_one_tab_once"),
    Mutant("entries not unique", _entries_are_not_unique, "test_ten_copies_of_each_webhook_are_one_entry"),
    Mutant(
        "one entry per dispute",
        _disputes_are_entered_once_each,
        "test_a_dispute_that_is_won_gives_everything_back",
    ),
    Mutant(
        "refunds not looked for",
        _refunds_are_not_looked_for,
        "test_a_refund_whose_answer_is_lost_goes_back_once",
        ("drop", "after"),
    ),
    Mutant("money without an entry", _money_without_an_entry, _S03),
    Mutant("an entry without money", _an_entry_without_money, _S01),
    Mutant("limits not kept", _limits_are_not_kept, "test_concurrent_purchases_never_pass_the_limit"),
    Mutant("disputes freeze nothing", _disputes_freeze_nothing, _S16),
    Mutant("losses not entered", _losses_are_not_entered, _S16),
    Mutant("dunning without end", _flagged_tabs_are_charged_again, _S12),
    Mutant("stolen cards tried again", _stolen_cards_are_tried_again, "test_a_stolen_card_is_not_tried_again"),
    Mutant("the hold ignored", _the_hold_is_ignored, _CLEARING),
    Mutant("funds not waited for", _funds_are_not_waited_for, _CLEARING),
)

"""One key, one signer: the lease in the database, its fence, and the nonces it hands out."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from payments.models import Lease, Submission
from payments.onchain.lease import Holder, LeaseLost
from tests.unit.payments.counter import Counter, offer

from .test_record import state

pytestmark = pytest.mark.django_db(transaction=True)

KEY = b"k" * 20


def runs_out() -> None:
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def take(holder: Holder) -> int:
    with transaction.atomic():
        return holder.take_nonce()


def test_one_of_two_holds_it_until_it_is_let_go():
    first, second = Holder(1, KEY), Holder(1, KEY)
    assert first.hold()
    assert not second.hold()
    assert first.hold()
    first.let_go()
    assert second.hold()
    assert Lease.objects.get().holder == second.name


def test_keys_and_chains_are_held_apart():
    assert all(Holder(chain_id, key).hold() for chain_id in (1, 2) for key in (KEY, b"l" * 20))
    assert Lease.objects.count() == 4


def test_of_many_who_start_at_once_one_holds_it():
    holders = [Holder(1, KEY) for _ in range(12)]
    barrier = threading.Barrier(len(holders))
    held: list[bool] = []

    def start(holder: Holder) -> None:
        connection.ensure_connection()
        barrier.wait()
        held.append(holder.hold())
        connection.close()

    threads = [threading.Thread(target=start, args=(holder,)) for holder in holders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(held) == [False] * 11 + [True]


def test_a_lease_that_ran_out_is_taken_by_the_next_and_the_fence_grows():
    first, second = Holder(1, KEY), Holder(1, KEY)
    assert first.hold()
    runs_out()
    assert second.hold()
    assert second.fence == first.fence + 1


def test_a_holder_that_slept_past_its_lease_takes_no_nonce_from_the_next():
    sleeper, awake = Holder(1, KEY), Holder(1, KEY)
    assert sleeper.hold()
    assert take(sleeper) == 0
    runs_out()
    assert awake.hold()
    assert sleeper.hold()  # It still believes so: its own clock says that a third of the lease has not passed.
    with pytest.raises(LeaseLost):
        take(sleeper)
    assert not sleeper.hold()
    assert [take(awake), take(awake)] == [1, 2]


def test_a_lease_that_ran_out_is_still_its_holders_until_somebody_takes_it():
    """The fence decides, not the clock; and who signs has the key for as long again."""
    holder, other = Holder(1, KEY), Holder(1, KEY)
    assert holder.hold()
    runs_out()
    assert take(holder) == 0
    assert not other.hold()


def test_who_lost_it_cannot_let_it_go_or_move_its_nonces():
    sleeper, awake = Holder(1, KEY), Holder(1, KEY)
    assert sleeper.hold()
    runs_out()
    assert awake.hold()
    sleeper.let_go()
    sleeper.catch_up(50)
    assert take(awake) == 0
    assert not Holder(1, KEY).hold()


def test_a_nonce_is_used_only_if_its_transaction_commits():
    holder = Holder(1, KEY)
    assert holder.hold()
    with transaction.atomic():
        assert holder.take_nonce() == 0
        transaction.set_rollback(True)
    assert take(holder) == 0


def test_it_goes_on_after_what_the_chain_or_its_own_rows_have_seen():
    holder = Holder(1, KEY)
    assert holder.hold()
    holder.catch_up(7)
    assert take(holder) == 7
    holder.catch_up(3)
    Submission.objects.create(chain_id=1, key=KEY, key_nonce=8, to=KEY, data=b"", gas_limit=1)
    holder.catch_up(3)
    assert take(holder) == 9


def test_time_is_the_databases_own(monkeypatch: pytest.MonkeyPatch):
    holder, other = Holder(1, KEY), Holder(1, KEY)
    assert holder.hold()
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr(timezone, "now", lambda: None)
    assert not other.hold()
    assert Lease.objects.filter(expires_at__gt=Now()).exists()


def test_a_settler_that_slept_past_its_lease_sends_nothing(counter: Counter):
    payment = counter.claim(counter.wallet(), offer())
    sleeper, awake = counter.settler, counter.another_settler()
    assert sleeper.lease.hold()
    runs_out()
    assert awake.lease.hold()
    with pytest.raises(LeaseLost):
        counter.turn(sleeper)
    assert not Submission.objects.exists()
    assert state(payment)[0] == "claimed"
    counter.work(awake)
    assert state(payment)[0] == "confirmed"

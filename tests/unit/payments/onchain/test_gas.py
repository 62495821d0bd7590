"""How long the settler's ether lasts, by what its newest transactions cost."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from payments.models import Attempt, Lease, Submission
from payments.onchain import gas
from payments.onchain.gas import Gas, Use

pytestmark = pytest.mark.django_db
KEY = b"k" * 20
GWEI = 10**9


def mined(nonce: int, *, days_ago: float = 0, gas_used: int = 100_000, fee: int = 3 * GWEI, tip: int = GWEI) -> None:
    """A transaction that offered 3 gwei for each gas, and paid 2: a base fee of 1 and the tip."""
    submission = Submission.objects.create(
        chain_id=settings.CHAIN_ID, key=KEY, key_nonce=nonce, to=KEY, data=b"call", gas_limit=250_000,
        state="mined", gas_used=gas_used, made_at=timezone.now() - timedelta(days=days_ago),
    )  # fmt: skip
    Attempt.objects.create(submission=submission, tx_hash=bytes([nonce]) * 32, raw=b"", max_fee=fee, priority_fee=tip)


def test_the_settler_is_known_by_the_newest_lease():
    assert gas.settler() is None
    for key, minutes in ((b"o" * 20, 5), (KEY, 1)):
        Lease.objects.create(
            chain_id=settings.CHAIN_ID, key=key, expires_at=timezone.now() - timedelta(minutes=minutes)
        )
    Lease.objects.create(chain_id=1, key=b"x" * 20, expires_at=timezone.now())
    assert gas.settler() == KEY


def test_a_days_use_is_that_of_the_time_since_the_oldest_of_them():
    assert gas.use(KEY) == Use()
    mined(1, days_ago=2)
    mined(2)
    per_day = gas.use(KEY).day_wei
    assert abs(per_day - 200_000 * GWEI) < GWEI
    assert gas.use(KEY).next_wei == 250_000 * 3 * GWEI


def test_a_minute_of_use_is_not_taken_for_a_day_of_it():
    mined(1)
    assert gas.use(KEY).day_wei == 200_000 * GWEI


def test_only_the_newest_transactions_count(monkeypatch):
    monkeypatch.setattr(gas, "_NEWEST", 1)
    mined(1, days_ago=30, gas_used=10**9)
    mined(2)
    assert gas.use(KEY).day_wei == 200_000 * GWEI


@pytest.mark.parametrize(
    ("balance", "used", "said"),
    [
        (0, Use(), Gas("out", 0)),
        (1, Use(), Gas("ok", None)),
        (99, Use(10, 100), Gas("out", 0)),
        (100, Use(100, 100), Gas("low", 1)),
        (699, Use(100, 100), Gas("low", 6)),
        (700, Use(100, 100), Gas("ok", 7)),
    ],
)
def test_it_is_low_below_a_week_and_out_below_one_transaction(balance: int, used: Use, said: Gas):
    assert gas.left(balance, used) == said

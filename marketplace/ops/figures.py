"""The figures of the whole shop for /metrics, from the database and the node. Each is read by a few indexed queries.

What only grows is read anew each time: two processes that kept it would make it seem to fall.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Min, Q
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from payments import onchain
from payments.books import ledger
from payments.models import OPEN, Chain, Job, Payment, ProcessorEvent, SalesCount
from payments.onchain import rpc, watcher

from . import parts
from .kept import Kept

_SECONDS = 10
_WEI = 10**18
_MICROS = 10**6


def _ask_head() -> int | None:
    try:
        return rpc.parsed(lambda: int(rpc.request("eth_blockNumber"), 16))
    except rpc.ChainUnreachable:
        return None


head = Kept(_ask_head, _SECONDS, None)


class Figures(Collector):
    """Reads the figures when they are asked for. A figure that is not known now is left out. Raises DatabaseError."""

    def describe(self) -> list[Metric]:
        """Nothing: to register it asks for no figure."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every figure."""
        sales = CounterMetricFamily("pennypress_sales", "Sales, up to two minutes ago", labels=["rail"])
        for rail, number in SalesCount.objects.values_list("rail", "number"):
            sales.add_metric([rail], number)
        yield sales
        yield from _jobs({row.name: row for row in Job.objects.all()})
        yield from kept()
        waiting = parts.messages()
        yield from _known("pennypress_broker_messages", "Messages that wait for a worker", waiting)
        if onchain.enabled():
            yield from _chain()


def _ask_database() -> list[Metric]:
    oldest = Payment.objects.filter(state__in=OPEN).aggregate(at=Min("claimed_at"))["at"]
    events = ProcessorEvent.objects.filter(applied_at=None).aggregate(number=Count("id"))["number"]
    webhook = ProcessorEvent.objects.aggregate(at=Max("received_at"))["at"]
    suspense = GaugeMetricFamily("pennypress_suspense", "Money without a sale, in units of the asset", labels=["asset"])
    held: dict[str, int] = {}
    for (_, asset), micros in ledger.balances(Q(code__startswith="suspense:")).items():
        held[asset] = held.get(asset, 0) + micros
    for asset, micros in held.items():
        suspense.add_metric([asset], micros / _MICROS)
    return [
        suspense,
        *_known("pennypress_oldest_open_payment_seconds", "Age of the oldest open payment", _age(oldest) or 0),
        *_known("pennypress_unapplied_events", "Events of the card processor that are not applied yet", events),
        *_known("pennypress_last_webhook_timestamp_seconds", "When the last event was received", _time(webhook)),
    ]


kept: Kept[list[Metric]] = Kept(_ask_database, _SECONDS, [])


def _jobs(rows: dict[str, Any]) -> Iterator[Metric]:
    succeeded = GaugeMetricFamily(
        "pennypress_job_success_timestamp_seconds", "When a job last did all there was to do", labels=["job"]
    )
    for name, row in rows.items():
        if row.succeeded_at:
            succeeded.add_metric([name], row.succeeded_at.timestamp())
    yield succeeded
    if audit := rows.get("audit_books"):
        yield from _known("pennypress_audit_timestamp_seconds", "When the last audit ended", _time(audit.succeeded_at))
        yield from _known("pennypress_audit_findings", "What the last audit found", audit.found)
    if watching := rows.get(watcher.JOB):
        seconds = _age(watching.succeeded_at)
        yield from _known("pennypress_watcher_lag_seconds", "Time since the watcher's last good look", seconds)


def _chain() -> Iterator[Metric]:
    newest = head()
    read = Chain.objects.filter(chain_id=settings.CHAIN_ID).values_list("scanned_to", flat=True).first()
    lag = None if newest is None or read is None else max(newest - read, 0)
    yield from _known("pennypress_watcher_lag_blocks", "Blocks that the watcher has not read yet", lag)
    balance_wei, ether = parts.node().balance_wei, parts.settler_gas()
    coins = None if balance_wei is None else balance_wei / _WEI
    yield from _known("pennypress_gas_balance", "The settler's balance in the chain's own coin", coins)
    yield from _known("pennypress_gas_days_left", "Days for which that lasts by recent use", ether.days_left)


def _known(name: str, what: str, value: Any) -> Iterator[Metric]:
    if value is not None:
        yield GaugeMetricFamily(name, what, value=value)


def _time(moment: datetime | None) -> Any:
    return moment.timestamp() if moment else None


def _age(moment: datetime | None) -> Any:
    return (timezone.now() - moment).total_seconds() if moment else None

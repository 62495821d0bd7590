"""Many sales at once, as the product would have written them, for what must be quick also when there are many."""

import os

from django.conf import settings
from django.db import connection, transaction

from payments.books import accounts, ledger
from payments.ids import uuid7
from payments.models import Account

AMOUNT = 50_000
_CHUNK = 20_000
_WHEN = "2026-01-01 00:00:00+00:00"
_COLUMNS = {
    "transaction": "id key kind digest made_at last_posting_id",
    "posting": "id transaction_id source_id target_id amount_micros",
    "payment": "id rail buyer resource version payee audience price_id amount_micros quote state reason claimed_at"
    " decided_at reversals sale_id",
    "authorization": "payment_id chain_id token payer nonce recipient valid_after valid_before signature"
    " contract_wallet",
    "grant": "id payment_id buyer resource version made_at",
    "transfer": "chain_id block_number block_hash tx_hash log_index token sender recipient value nonce seen_at final"
    " orphanings payment_id received_id",
}


def sell(many: int, payees: int = 20) -> None:
    """So many finished sales of five cents, each by a buyer of its own, one to a block."""
    chain_id = settings.CHAIN_ID
    shares = accounts.shares(AMOUNT)
    world = accounts.world(chain_id)
    earned = [f"publisher:{n}:earned" for n in range(payees)]
    account = {
        code: Account.objects.get_or_create(code=code, asset="USDC")[0].id for code in (world, "platform:fees", *earned)
    }
    for first in range(0, many, _CHUNK):
        rows: dict[str, list[tuple]] = {table: [] for table in _COLUMNS}
        for n in range(first, min(first + _CHUNK, many)):
            moves = [(world, earned[n % payees], shares[0]), (world, "platform:fees", shares[1])]
            entry, payment, grant, *lines = (uuid7().hex for _ in range(5))
            payer, nonce, us, token = os.urandom(20), os.urandom(32), b"\1" * 20, b"\2" * 20
            buyer, resource = f"eip155:{chain_id}:0x{payer.hex()}", f"article:{n}"
            digest = ledger.digest("sale", "USDC", moves)
            rows["transaction"].append((entry, f"sale:{payment}", "sale", digest, _WHEN, lines[1]))
            for line, (source, target, amount) in zip(lines, moves, strict=True):
                rows["posting"].append((line, entry, account[source], account[target], amount))
            rows["payment"].append(
                (payment, "exact", buyer, resource, 1, earned[n % payees][:-7], "agents", 1, AMOUNT, "", "final", "")
                + (_WHEN, _WHEN, 0, entry)
            )
            rows["authorization"].append((payment, chain_id, token, payer, nonce, us, 0, 2**40, bytes(65), False))
            rows["grant"].append((grant, payment, buyer, resource, 1, _WHEN))
            rows["transfer"].append(
                (chain_id, n, n.to_bytes(32), nonce, 0, token, payer, us, str(AMOUNT), nonce, _WHEN, True, 0)
                + (payment, entry)
            )
        with transaction.atomic():
            for table, made in rows.items():
                _write(table, made)


def _write(table: str, rows: list[tuple]) -> None:
    names = _COLUMNS[table].split()
    columns = ", ".join(f'"{name}"' for name in names)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.cursor.copy(f"COPY payments_{table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            marks = ", ".join(["%s"] * len(names))
            cursor.executemany(f"INSERT INTO payments_{table} ({columns}) VALUES ({marks})", rows)

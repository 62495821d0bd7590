"""`manage.py deploy_settler`: deploy the batch contract to the chain, once."""

import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from eth_account import Account

from payments.onchain import rpc, watcher

_WAIT_SECONDS = 120
_GAS = 1_000_000


class Command(BaseCommand):
    """Deploys BatchSettlement.sol at its deterministic address. Idempotent."""

    help = "Deploy the batch settlement contract with SETTLER_KEY (about 350,000 gas)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Deploy the contract if needed and print its address. Refuse a chain other than the database's."""
        try:
            watcher.meet()
            where = rpc.batch_contract()
            if not rpc.code_at(where):
                self._deploy(where)
        except watcher.AnotherChain as error:
            raise CommandError(str(error)) from error
        except rpc.ChainUnreachable as error:
            raise CommandError(f"The chain at CHAIN_RPC_URL does not answer as needed: {error}") from error
        self.stdout.write(f"0x{where.hex()}")

    def _deploy(self, where: bytes) -> None:
        if not settings.SETTLER_KEY:
            raise CommandError("SETTLER_KEY is not set: the key that pays for the deployment.")
        if not rpc.code_at(rpc.DEPLOYER):
            raise CommandError(f"This chain has no deterministic deployer at 0x{rpc.DEPLOYER.hex()}.")
        account = Account.from_key(settings.SETTLER_KEY)
        tip = rpc.suggested_priority_fee()
        signed = account.sign_transaction(
            {
                "type": 2,
                "chainId": settings.CHAIN_ID,
                "nonce": rpc.transaction_count(bytes.fromhex(account.address[2:])),
                "to": rpc.DEPLOYER,
                "value": 0,
                "data": rpc.batch_deployment(),
                "gas": _GAS,
                "maxFeePerGas": 2 * rpc.block("latest").base_fee + tip,
                "maxPriorityFeePerGas": tip,
            }
        )
        rpc.send(bytes(signed.raw_transaction))
        ends = time.monotonic() + _WAIT_SECONDS
        while not rpc.code_at(where):
            if time.monotonic() > ends:
                raise CommandError(f"The deployment 0x{signed.hash.hex()} was sent but is not in a block yet.")
            time.sleep(0.2)

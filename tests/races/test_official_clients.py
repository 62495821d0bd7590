"""When the chain takes longer than the shop waits: official clients do not know 503, and their callers ask again."""

import json

from tests.faults.stage import Stage
from tests.interop import proof
from tests.interop.clients import KINDS, Client
from tests.interop.wire import tapped


def test_who_meets_a_503_and_signs_again_pays_once(stage: Stage, all_clients: list[Client]):
    shop = stage.shop
    with tapped(shop.url) as wire:
        article, url = shop.article(5), wire.url(shop.article(5)["md_url"])
        pairs = list(zip(all_clients, stage.wallets(len(KINDS)), strict=True))
        with stage.no_blocks():
            for client, wallet in pairs:
                client.order(wallet, url)
            for client, _ in pairs:
                first = client.hear()
                said = json.loads(first["text"])
                assert (first["status"], said["error"], said["charged"]) == (503, "settlement_pending", None)
                assert int(first["headers"]["retry-after"]) > 0
            for client, wallet in pairs:
                client.order(wallet, url, instance=client.kind.another("again"))
            shop.wait(lambda: all(len(wire.payments(wallet)) == 2 for _, wallet in pairs), "everybody to sign again")
        for client, wallet in pairs:
            answer = client.hear()
            assert proof.delivered(shop, article, answer), answer
            proof.paid_once(shop, client.kind, wallet, article, article["agent_price_micros"], answer["settled"])
            (header, nonce), (same_header, another_nonce) = wire.payments(wallet)
            assert header == same_header == client.kind.sent_in
            assert nonce != another_nonce

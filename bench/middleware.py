"""What we compare with: the official x402 FastAPI middleware and its facilitator in process, as its README has it."""

import os

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from x402 import x402Facilitator, x402ResourceServer
from x402.http.middleware.fastapi import payment_middleware
from x402.http.types import PaymentOption, RouteConfig
from x402.mechanisms.evm import FacilitatorWeb3Signer
from x402.mechanisms.evm.exact import ExactEvmServerScheme, register_exact_evm_facilitator
from x402.schemas import AssetAmount

NETWORK = "eip155:84532"
BODY = "word " * 900

signer = FacilitatorWeb3Signer(private_key=os.environ["BENCH_KEY"], rpc_url=os.environ["BENCH_RPC"])
facilitator = x402Facilitator()
register_exact_evm_facilitator(facilitator, signer, networks=NETWORK)
server = x402ResourceServer(facilitator)
server.register(NETWORK, ExactEvmServerScheme())
price = AssetAmount(amount="10000", asset=os.environ["BENCH_ASSET"], extra={"name": "USDC", "version": "2"})
option = PaymentOption(scheme="exact", pay_to=os.environ["BENCH_PAY_TO"], price=price, network=NETWORK)

app = FastAPI()
app.middleware("http")(payment_middleware({"GET /article": RouteConfig(accepts=[option])}, server))


@app.get("/article")
async def article() -> PlainTextResponse:
    """An article of about the length of ours."""
    return PlainTextResponse(BODY, media_type="text/markdown")

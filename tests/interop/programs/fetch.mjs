// Buys with npm's @x402/fetch, set up as its README does.
import { ExactEvmScheme } from "@x402/evm";
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import { privateKeyToAccount } from "viem/accounts";
import { serve } from "./lines.mjs";

const clients = new Map();

function client(order) {
  if (!clients.has(order.client)) {
    const account = privateKeyToAccount(order.key);
    const config = { schemes: [{ network: "eip155:*", client: new ExactEvmScheme(account) }] };
    clients.set(order.client, wrapFetchWithPaymentFromConfig(fetch, config));
  }
  return clients.get(order.client);
}

await serve("@x402/fetch", async (order) => {
  const answer = await client(order)(order.url, { method: "GET", headers: order.headers });
  const paymentResponse = answer.headers.get("PAYMENT-RESPONSE");
  return {
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    text: await answer.text(),
    settled: paymentResponse && decodePaymentResponseHeader(paymentResponse),
  };
});

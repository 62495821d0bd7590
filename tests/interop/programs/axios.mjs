// Buys with npm's @x402/axios, set up as its README does. A status that is not 2xx is an exception of axios.
import { decodePaymentResponseHeader, wrapAxiosWithPaymentFromConfig } from "@x402/axios";
import { ExactEvmScheme } from "@x402/evm";
import axios from "axios";
import { privateKeyToAccount } from "viem/accounts";
import { serve } from "./lines.mjs";

const clients = new Map();

function client(order) {
  if (!clients.has(order.client)) {
    const account = privateKeyToAccount(order.key);
    const config = { schemes: [{ network: "eip155:*", client: new ExactEvmScheme(account) }] };
    clients.set(order.client, wrapAxiosWithPaymentFromConfig(axios.create(), config));
  }
  return clients.get(order.client);
}

await serve("@x402/axios", async (order) => {
  const answer = await client(order)
    .get(order.url, { headers: order.headers })
    .catch((error) => {
      if (!error.response) throw error;
      return error.response;
    });
  const paymentResponse = answer.headers["payment-response"];
  return {
    status: answer.status,
    headers: { ...answer.headers },
    text: typeof answer.data === "string" ? answer.data : JSON.stringify(answer.data),
    settled: paymentResponse ? decodePaymentResponseHeader(paymentResponse) : null,
  };
});

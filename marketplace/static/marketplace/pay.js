// Pay for one article with the reader's own wallet, and never twice.
//
// A signed payment is stored before it is sent, and sent again until the answer is clear: 200 with the article, or a
// refusal that says why and whether money moved. Anything else is unknown.

import "./times.js";

const UNSURE = "We could not confirm your payment yet. Check again: you won't be charged twice.";
const KEY = "pennypress:" + location.pathname;

const $ = (selector) => document.querySelector(selector);
const bytes = (text) => new TextEncoder().encode(text);
const hex = (data) => "0x" + Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
const base64 = (value) => btoa(String.fromCharCode(...bytes(JSON.stringify(value))));
const codeOf = (error) => error?.data?.originalError?.code ?? error?.code;

const wallets = new Map();
let page, terms, price, loadedAt, skew = 0, busy = false;

function mount() {
  page = $("#pay");
  if (!page) return;
  terms = JSON.parse($("#x402-terms").textContent);
  price = terms.accepts.find((one) => one.scheme === "exact" && one.network.startsWith("eip155:"));
  loadedAt = Date.now();
  // The server's time is in its challenge: a wrong clock here must not make a signature that is not valid.
  const issued = Date.parse(terms.extensions?.["sign-in-with-x"]?.info.issuedAt);
  if (issued) skew = issued - loadedAt;
  draw();
}

function say(text) {
  if (page) $("#pay-status").textContent = text;
}

function button(label, info, action) {
  const one = document.createElement("button");
  one.type = "button";
  one.setAttribute("aria-disabled", busy);
  // Wallets name themselves: the name stays text, and the picture may not come from elsewhere.
  if (info?.icon?.startsWith("data:image/")) one.append(Object.assign(new Image(), { src: info.icon, alt: "" }));
  one.append(info ? `${label} ${String(info.name).slice(0, 40)}` : label);
  one.addEventListener("click", () => run(action));
  return one;
}

function draw() {
  if (!page || !price) return;
  const all = [...wallets.values()];
  const began = sessionStorage.getItem(KEY);
  const pays = began
    ? [button("Check payment again", null, send)]
    : all.map((wallet) => button(`Pay ${page.dataset.price} with`, wallet.info, () => pay(wallet)));
  for (const one of pays) one.className = "primary wide";
  $("#wallets").replaceChildren(...pays);
  $("#no-wallet").hidden = pays.length > 0;
  const proofs = all.map((wallet) => button("I already bought this with", wallet.info, () => prove(wallet)));
  $("#proofs").replaceChildren(...(began ? [] : proofs));
}

async function run(action) {
  if (busy) return;
  busy = true;
  draw();
  try {
    await action();
  } catch (error) {
    say(sessionStorage.getItem(KEY) ? UNSURE : `${explain(error)} You have not been charged.`);
  }
  busy = false;
  draw();
}

function explain(error) {
  if (codeOf(error) === 4001) return "You canceled.";
  if (codeOf(error) === -32002) return "Your wallet already has an open request.";
  return `Something went wrong: ${error?.message ?? error}.`;
}

async function ask(headers) {
  const answer = await fetch(location, { headers: { Accept: "text/html", ...headers }, cache: "no-store" });
  const doc = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { status: answer.status, headers: answer.headers, doc };
}

function swap(doc, target) {
  document.title = doc.title;
  $("main").replaceWith(doc.querySelector("main"));
  mount();
  ($(target) ?? $("main")).focus();
}

function unlock({ doc, headers }) {
  swap(doc, "#article");
  const paid = headers.get("PAYMENT-RESPONSE");
  const transaction = paid && JSON.parse(atob(paid)).transaction;
  if (transaction) $("#receipt")?.append(` Transaction ${transaction.slice(0, 12)}….`);
}

// Prices and challenges are held for minutes: an old page is read again before anything is signed.
async function isFresh(minutes) {
  if (Date.now() - loadedAt < minutes * 60_000) return true;
  const before = price.amount;
  const answer = await ask();
  if (answer.status === 200) return void unlock(answer);
  if (answer.status !== 402) throw new Error("the page could not be reloaded");
  swap(answer.doc, "#pay-status");
  if (price.amount === before) return true;
  say(`The price is now ${page.dataset.price}. To pay it, press the button again. You have not been charged.`);
}

async function pay({ provider }) {
  if (!(await isFresh(page.dataset.minutes - 2))) return;
  const { typedData, useChain } = await import("./signing.js");
  const request = (method, ...params) => provider.request({ method, params });
  const { network, rpc } = page.dataset;
  const cost = page.dataset.price;
  say("Choose an account in your wallet.");
  const [from] = await request("eth_requestAccounts");
  say(`If your wallet asks, switch to the ${network} network.`);
  await useChain(request, price.network, network, rpc);

  say("Checking your balance…");
  const data = "0x70a08231" + from.slice(2).padStart(64, "0");
  const balance = await request("eth_call", { to: price.asset, data }, "latest");
  if (BigInt(balance) < BigInt(price.amount)) {
    return say(`This account has less than ${cost} on ${network}. You have not been charged.`);
  }

  say(`Confirm the ${cost} payment in your wallet.`);
  const now = Math.floor((Date.now() + skew) / 1000);
  const authorization = {
    from,
    to: price.payTo,
    value: price.amount,
    validAfter: String(now - 600),
    validBefore: String(now + price.maxTimeoutSeconds),
    nonce: hex(crypto.getRandomValues(new Uint8Array(32))),
  };
  const typed = JSON.stringify(typedData(price, authorization));
  const signature = await request("eth_signTypedData_v4", from, typed);
  const payload = { signature, authorization };
  sessionStorage.setItem(KEY, base64({ x402Version: 2, accepted: price, payload, resource: terms.resource }));
  await send();
}

async function send() {
  const payment = sessionStorage.getItem(KEY);
  say("Sending your payment…");
  for (let turn = 0; turn < 6; turn++) {
    const answer = await ask({ "PAYMENT-SIGNATURE": payment });
    const refused = [400, 402, 409, 410].includes(answer.status) && answer.doc.querySelector("#pay-error");
    if (refused || (answer.status === 200 && answer.doc.querySelector("#article"))) {
      sessionStorage.removeItem(KEY);
      return refused ? swap(answer.doc, "#pay-error") : unlock(answer);
    }
    const seconds = Number(answer.headers.get("Retry-After"));
    if (!seconds) break;
    say("Payment sent. Waiting for the network…");
    await new Promise((done) => setTimeout(done, Math.min(seconds, 10) * 1000));
  }
  say(UNSURE);
}

async function prove({ provider }) {
  if (!(await isFresh(3))) return;
  const { checksum, signInMessage } = await import("./signing.js");
  const { info, supportedChains } = terms.extensions["sign-in-with-x"];
  const { chainId, type } = supportedChains.find((one) => one.chainId.startsWith("eip155:"));
  say("Sign the message in your wallet. It only proves that the wallet is yours.");
  const [account] = await provider.request({ method: "eth_requestAccounts" });
  const claim = { ...info, address: checksum(account), chainId, type };
  const params = [hex(bytes(signInMessage(claim))), account];
  const signature = await provider.request({ method: "personal_sign", params });
  const answer = await ask({ "SIGN-IN-WITH-X": base64({ ...claim, signature }) });
  if (answer.status === 200) return unlock(answer);
  say("This wallet has not bought this article yet. You have not been charged.");
}

addEventListener("eip6963:announceProvider", ({ detail }) => {
  if (!detail?.provider?.request || !detail.info?.uuid || wallets.has(detail.info.uuid)) return;
  wallets.set(detail.info.uuid, detail);
  draw();
});
mount();
dispatchEvent(new Event("eip6963:requestProvider"));
setTimeout(() => {
  const provider = window.ethereum;
  if (!wallets.size && provider?.request) wallets.set("", { provider, info: { name: "your wallet" } });
  draw();
}, 300);
if (page && sessionStorage.getItem(KEY)) say("You started to pay for this article. Check the payment: you won't be charged twice.");

// The editor's two comforts: leaving with unsaved words asks first, and what a price leaves you is shown as you type.
// Without this file everything is said by the server on save and preview.

const form = document.querySelector("form[data-editor]");
const MICROS = 1_000_000n;

/** The whole micros a decimal string names, or null. The same rule as the server's. */
function micros(text) {
  const match = /^([0-9]{1,12})(?:\.([0-9]{1,6})0*)?$/.exec(text.trim());
  return match ? BigInt(match[1]) * MICROS + BigInt((match[2] ?? "").padEnd(6, "0")) : null;
}

function dollars(amount) {
  const fraction = (amount % MICROS).toString().padStart(6, "0").replace(/0+$/, "").padEnd(2, "0");
  return `$${amount / MICROS}.${fraction}`;
}

function keepCounting(input) {
  const output = document.getElementById(input.dataset.keeps);
  const warning = document.getElementById("agent-limit");
  const show = () => {
    const price = micros(input.value);
    output.textContent = price === null ? "" : `You keep ${dollars(price - (price * BigInt(form.dataset.fee)) / 10_000n)} of each sale.`;
    if (input.name === "agent_price") warning.hidden = price === null || price <= BigInt(form.dataset.limit);
  };
  input.addEventListener("input", show);
  show();
}

function askBeforeLeaving() {
  let typed = form.hasAttribute("data-unsaved");
  form.addEventListener("input", () => { typed = true; });
  // A preview opens beside the editor and leaves it as it is.
  form.addEventListener("submit", (event) => { if (!event.submitter?.formTarget) typed = false; });
  addEventListener("beforeunload", (event) => { if (typed) event.preventDefault(); });
}

for (const input of form.querySelectorAll("[data-keeps]")) keepCounting(input);
askBeforeLeaving();

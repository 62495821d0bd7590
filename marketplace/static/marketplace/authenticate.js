// Let the bank ask the cardholder, then send the form: the server asks the processor what became of it.
//
// Only the status "succeeded" is a success. A missing error is none: a refused question can come without one.

const $ = (selector) => document.querySelector(selector);
const form = $("#ask");
const { publicKey, clientSecret, paymentMethod } = JSON.parse($("#asked").textContent);
let busy = false;

function say(text) {
  $("#ask-status").textContent = text;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (busy) return;
  if (!window.Stripe) return say("The card processor's script could not be loaded. You were not charged.");
  busy = true;
  say("Asking your bank…");
  try {
    const stripe = window.Stripe(publicKey);
    const choice = paymentMethod ? { payment_method: paymentMethod } : {};
    const { paymentIntent, error } = await stripe.confirmCardPayment(clientSecret, choice);
    if (paymentIntent?.status === "succeeded" || paymentIntent?.status === "processing") {
      say("Your bank agreed. One moment…");
      return form.submit();
    }
    say(`${error?.message ?? "Your bank did not agree."} You were not charged. You can try again.`);
  } catch {
    say("The card processor does not answer just now. Press again: you cannot pay twice.");
  }
  busy = false;
});

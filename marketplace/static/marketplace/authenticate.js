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
  if (!window.Stripe) return say("The card processor's script did not load. You have not been charged.");
  busy = true;
  say("Waiting for your bank…");
  try {
    const stripe = window.Stripe(publicKey);
    const choice = paymentMethod ? { payment_method: paymentMethod } : {};
    const { paymentIntent, error } = await stripe.confirmCardPayment(clientSecret, choice);
    const status = (paymentIntent ?? error?.payment_intent)?.status;
    if (status === "succeeded" || status === "processing") {
      say("Confirmed. One moment…");
      return form.submit();
    }
    // Only the card's bank and the processor's own checks say for certain that no money moved.
    const certain = !error || ["card_error", "validation_error", "invalid_request_error"].includes(error.type);
    const reassurance = certain ? "You have not been charged. You can try again." : "Try again: you won't be charged twice.";
    say(`${error?.message ?? "Your bank did not confirm the payment."} ${reassurance}`);
  } catch {
    say("The card processor isn't responding. Try again: you won't be charged twice.");
  }
  busy = false;
});

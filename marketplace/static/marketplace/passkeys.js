// What a passkey's failure means and what to do about it, in words, where allauth's scripts only write to the console.

const IS_ADDRESS = /^(\d+\.\d+\.\d+\.\d+|\[.*\])$/.test(location.hostname);
const OTHER_WAY = "try again, or sign in another way";

function explain(error) {
  if (IS_ADDRESS) {
    const named = `${location.protocol}//localhost${location.port && `:${location.port}`}`;
    const local = /^(127\.|\[::1\])/.test(location.hostname);
    return `Passkeys need a site with a name, and this address is a number. ${local ? `Open ${named} instead.` : "Open the site by its name instead."}`;
  }
  if (!isSecureContext) return "Passkeys need a secure connection. Open the site with https:// at the beginning of its address.";
  if (!window.PublicKeyCredential) return "This browser can't use passkeys. Use a newer browser, or sign in another way.";
  switch (error?.name) {
    case "NotAllowedError":
    case "AbortError":
      return `No passkey was used: it was canceled, it took too long, or this device has none for this site. You can ${OTHER_WAY}.`;
    case "InvalidStateError":
      return "This device already has a passkey for your account. You can sign in with it, or add one on another device.";
    case "NotSupportedError":
    case "ConstraintError":
      return "This device can't make such a passkey. Turn on its screen lock, fingerprint, face or PIN, or use another device.";
    case "SecurityError":
      return "Passkeys of this site work only at its own address. Open the site from its home page, and try again.";
    default:
      return `The passkey could not be used. Check your connection, then ${OTHER_WAY}.`;
  }
}

document.addEventListener("allauth.error", (event) => {
  if (!event.detail.tags.includes("webauthn")) return;
  event.preventDefault();
  const said = document.querySelector("#passkey-said") ?? document.createElement("p");
  Object.assign(said, { id: "passkey-said", className: "notice error", tabIndex: -1 });
  said.setAttribute("role", "alert");
  document.querySelector("main h1").after(said);
  said.textContent = explain(event.detail.exception);
  said.focus();
});

"""The HTML of the simulator's pages. Everything that came from outside is escaped here."""

import html
from typing import Any

Object = dict[str, Any]
_HINTS = (
    ("4242 4242 4242 4242", "pays"),
    ("4000 0027 6000 3184", "asks your bank, every time"),
    ("4000 0025 0000 3155", "asks your bank once, then can be charged by itself"),
    ("4000 0000 0000 0002", "is declined"),
    ("4000 0000 0000 9995", "has insufficient funds"),
    ("4000 0000 0000 0341", "is saved, and declined when it is charged"),
    ("4000 0000 0000 0259", "pays, and is disputed later"),
)


def _document(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{html.escape(title)} · Test card simulator</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/page.css">
</head>
<body>
<p class="banner"><strong>Test card simulator.</strong> No real card is charged here. Never type a real card number.</p>
<main>
<h1>{html.escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def dollars(cents: int) -> str:
    return f"${cents // 100:,}.{cents % 100:02}"


def notice(title: str, words: str, address: str | None = None, link: str = "") -> str:
    """A page that only says something, with one way on."""
    way = f'<p><a class="button" href="{html.escape(address)}">{html.escape(link)}</a></p>' if address else ""
    return _document(title, f"<p>{html.escape(words)}</p>{way}")


def payment(session: Object, typed: dict[str, str], error: str | None) -> str:
    """The page with the card form. `typed` is what the person sees again after a refusal; never the card."""
    saving = session["mode"] == "setup"
    title = "Save your card" if saving else f"Pay {dollars(session['amount_total'])}"
    lines = "".join(
        f"<tr><th scope=row>{html.escape(line['description'])}"
        f"{' × ' + str(line['quantity']) if line['quantity'] > 1 else ''}</th>"
        f"<td>{dollars(line['amount_total'])}</td></tr>"
        for line in session["_lines"]
    )
    total = (
        "" if saving else f"<tfoot><tr><th scope=row>Total</th><td>{dollars(session['amount_total'])}</td></tr></tfoot>"
    )
    table = f"<table><tbody>{lines}</tbody>{total}</table>" if lines else "<p>Nothing is charged now.</p>"
    alert = f'<p class="error" role="alert" id="error">{html.escape(error)}</p>' if error else ""
    cancel = ""
    if session["cancel_url"]:
        cancel = f'<p><a href="{html.escape(session["cancel_url"])}">Cancel and go back to the shop</a></p>'
    return _document(
        title,
        f"""{table}
{alert}
<form method="post" action="/c/pay/{html.escape(session["id"])}">
{_email(session, typed)}
{_field("number", "Card number", 'inputmode="numeric" autocomplete="cc-number" required', "", error)}
<div class="pair">
{_field("expiry", "Expiry (MM / YY)", 'inputmode="numeric" autocomplete="cc-exp" required', "")}
{_field("cvc", "Security code", 'inputmode="numeric" autocomplete="cc-csc" maxlength="4" required', "")}
</div>
{_field("name", "Name on the card", 'autocomplete="cc-name"', typed.get("name", ""))}
<button type="submit">{"Save card" if saving else html.escape(title)}</button>
</form>
{cancel}
{_hints()}""",
    )


def _email(session: Object, typed: dict[str, str]) -> str:
    known = (session["customer_details"] or {}).get("email")
    if known:
        return f"<p>Email: <strong>{html.escape(known)}</strong></p>"
    return _field("email", "Email", 'type="email" autocomplete="email" required', typed.get("email", ""))


def _field(name: str, label: str, attributes: str, value: str, error: str | None = None) -> str:
    described = ' aria-describedby="error"' if error else ""
    return (
        f'<div><label for="{name}">{label}</label>'
        f'<input id="{name}" name="{name}" value="{html.escape(value)}" {attributes}{described}></div>'
    )


def _hints() -> str:
    rows = "".join(f"<tr><th scope=row><code>{number}</code></th><td>{words}</td></tr>" for number, words in _HINTS)
    return (
        f"<details><summary>Cards to try</summary><table>{rows}</table>"
        "<p>Any date to come, and any three digits as the security code.</p></details>"
    )


def bank(amount: int | None, kept: dict[str, str]) -> str:
    """3D Secure: the bank asks, and the person decides how it ends."""
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(kept[name])}">'
        for name in ("secret", "frame")
        if kept.get(name)
    )
    words = f"A payment of {dollars(amount)}" if amount else "Saving your card"
    return _document(
        "Your bank asks",
        f"""<p>{words} needs your consent. (3D Secure, simulated.)</p>
<form method="post" class="verdict">
{hidden}
<button type="submit" name="verdict" value="complete">Complete</button>
<button type="submit" name="verdict" value="fail" class="quiet">Fail</button>
</form>""",
    )

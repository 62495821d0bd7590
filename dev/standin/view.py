"""What leaves the stand-in: objects with what the caller asked to expand, and pages of lists."""

from typing import Any

from .refusals import invalid
from .world import World, plain

Object = dict[str, Any]
# Which fields hold the id of another object, and which are lists that come only when asked for.
_IDS = {
    "customer": "customer", "latest_charge": "charge", "payment_method": "payment_method", "charge": "charge",
    "payment_intent": "payment_intent", "setup_intent": "setup_intent", "balance_transaction": "balance_transaction",
    "failure_balance_transaction": "balance_transaction", "default_payment_method": "payment_method",
}  # fmt: skip
_HAS = {
    "payment_intent": {"customer", "latest_charge", "payment_method", "application", "on_behalf_of", "review"},
    "setup_intent": {"customer", "payment_method", "latest_attempt", "mandate", "application", "on_behalf_of"},
    "charge": {"customer", "payment_intent", "balance_transaction", "failure_balance_transaction", "refunds"},
    "refund": {"charge", "payment_intent", "balance_transaction", "failure_balance_transaction"},
    "dispute": {"charge", "payment_intent"},
    "balance_transaction": {"source"},
    "checkout.session": {"customer", "payment_intent", "setup_intent", "line_items"},
    "payment_method": {"customer"},
    "customer": {"invoice_settings", "sources", "subscriptions", "tax_ids", "cash_balance", "default_source"},
    "radar.early_fraud_warning": {"charge", "payment_intent"},
}
_DEPTH = 4


_ROOTS = {
    "/v1/payment_intents": "payment_intent", "/v1/setup_intents": "setup_intent", "/v1/charges": "charge",
    "/v1/refunds": "refund", "/v1/disputes": "dispute", "/v1/balance_transactions": "balance_transaction",
    "/v1/checkout/sessions": "checkout.session", "/v1/payment_methods": "payment_method", "/v1/customers": "customer",
    "/v1/radar/early_fraud_warnings": "radar.early_fraud_warning",
}  # fmt: skip


def check(method: str, template: str, expand: list[str]) -> None:
    """Raises a 400 for a path that this call's answer does not have, before the call does anything."""
    root, _, rest = template.partition("/{")
    kind = "payment_method" if rest.startswith("customer}/payment_methods") else _ROOTS.get(root, "")
    many = method == "GET" and not template.endswith("}")
    for path in expand:
        parts = path.split(".")
        known = len(parts) <= _DEPTH + many and (not many or (parts.pop(0) == "data" and parts))
        here = {kind}
        for part in parts if known else []:
            known = known and any(part in _HAS.get(one, ()) or (one, part) in _INSIDE for one in here)
            here = {k for one in here for k in _kinds(one, part)}
        if not known:
            raise invalid(f"This property cannot be expanded ({path}).", "expand", keep=False)


_INSIDE = {("invoice_settings", "default_payment_method")}


def _kinds(kind: str, part: str) -> set[str]:
    """What may stand in this field once it is expanded."""
    if part == "source":
        return {"charge", "refund", "dispute"}
    return {"invoice_settings"} if part == "invoice_settings" else {_IDS.get(part, "")}


def show(world: World, subject: Object, expand: list[str]) -> Object:
    """The object for an answer. Raises a 400 for a path that cannot be expanded."""
    shown: Object = plain(subject, world.now())
    for path in expand:
        if path.count(".") >= _DEPTH:
            raise invalid(f"You cannot expand more than {_DEPTH} levels of a property ({path}).", "expand", keep=False)
        _expand(world, shown, path.split("."), path)
    return shown


def _expand(world: World, shown: Object, parts: list[str], path: str) -> None:
    first, rest = parts[0], parts[1:]
    if shown.get("object") == "list":
        if first != "data":
            raise invalid(f"This property cannot be expanded ({path}).", "expand", keep=False)
        for one in shown["data"]:
            _expand(world, one, rest, path) if rest else None
        return
    if first == "invoice_settings" and rest and shown.get("object") == "customer":
        _replace(world, shown["invoice_settings"], rest[0], path)
        return
    if first not in _HAS.get(shown.get("object", ""), set()):
        raise invalid(f"This property cannot be expanded ({path}).", "expand", keep=False)
    if first in ("refunds", "line_items"):
        shown[first] = _listed(world, shown, first)
    else:
        _replace(world, shown, first, path)
    if rest and isinstance(shown.get(first), dict):
        _expand(world, shown[first], rest, path)


def _listed(world: World, shown: Object, name: str) -> Object:
    if name == "refunds":
        rows = [plain(row, world.now()) for row in reversed(world.all("refund", charge=shown["id"]))]
        return page(rows, f"/v1/charges/{shown['id']}/refunds")
    lines = world.get("checkout.session", shown["id"])["_lines"]
    return page(plain(lines, world.now()), f"/v1/checkout/sessions/{shown['id']}/line_items")


def _replace(world: World, shown: Object, name: str, path: str) -> None:
    which = shown.get(name)
    if not isinstance(which, str):
        return
    if name == "source":
        found = next((table[which] for table in world.tables.values() if which in table), None)
    else:
        found = world.tables[_IDS[name]].get(which) if name in _IDS else None
    if found is None:
        raise invalid(f"This property cannot be expanded ({path}).", "expand", keep=False)
    shown[name] = plain(found, world.now())


def page(rows: list[Object], url: str, more: bool = False) -> Object:
    return {"object": "list", "data": rows, "has_more": more, "url": url}


def listing(rows: list[Object], given: Object, url: str) -> Object:
    """One page, newest first, of rows that come oldest first."""
    rows = [row for row in sorted(rows, key=lambda row: -row["_serial"]) if _within(row, given.get("created"))]
    limit = given.get("limit", 10)
    if not 1 <= limit <= 100:
        raise invalid("This value must be between 1 and 100.", "limit", "parameter_invalid_integer", keep=False)
    if "starting_after" in given and "ending_before" in given:
        raise invalid("You can only pass one of starting_after and ending_before.", "ending_before", keep=False)
    if which := given.get("starting_after"):
        place = _place(rows, which, "starting_after")
        return page(rows[place + 1 : place + 1 + limit], url, more=len(rows) > place + 1 + limit)
    if which := given.get("ending_before"):
        place = _place(rows, which, "ending_before")
        return page(rows[max(0, place - limit) : place], url, more=place > limit)
    return page(rows[:limit], url, more=len(rows) > limit)


def _place(rows: list[Object], which: str, param: str) -> int:
    for number, row in enumerate(rows):
        if row["id"] == which:
            return number
    raise invalid(f"No such object in this list: '{which}'", param, "resource_missing", keep=False)


def _within(row: Object, wanted: Any) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return bool(row["created"] == wanted)
    tests = {"gt": row["created"].__gt__, "gte": row["created"].__ge__, "lt": row["created"].__lt__,
             "lte": row["created"].__le__}  # fmt: skip
    return all(tests[name](value) for name, value in wanted.items())

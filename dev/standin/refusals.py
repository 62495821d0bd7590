"""How the stand-in says no: one exception that carries what the processor's error body has."""

from typing import Any


class Refusal(Exception):
    """An answer that is no success. `fields` are the rest of the error body: code, param, decline_code, …

    `keep` says whether the answer belongs to the idempotency key: what fails validation is never remembered.
    """

    def __init__(self, status: int, message: str, *, kind: str = "invalid_request_error", **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.keep = bool(fields.pop("keep", True))
        self.error = {"type": kind, "message": message, **{k: v for k, v in fields.items() if v is not None}}


def invalid(message: str, param: str | None = None, code: str | None = None, **fields: Any) -> Refusal:
    return Refusal(400, message, param=param, code=code, **fields)


def missing(what: str, which: str, param: str | None = None) -> Refusal:
    """No such object. In a path it is a 404, and named by a parameter a 400."""
    status = 404 if param in (None, "id", "intent") else 400
    return Refusal(status, f"No such {what}: '{which}'", code="resource_missing", param=param or "id")


def wrong_state(kind: str, message: str, found: dict[str, Any] | None = None) -> Refusal:
    fields = {kind: found} if found is not None else {}
    return Refusal(400, message, code=f"{kind}_unexpected_state", **fields)

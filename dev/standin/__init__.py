"""A strict stand-in for the card processor, for tests and the demo: no real card and no real money ever comes here."""

from .server import SECRET_KEY, WEBHOOK_SECRET, Standin

__all__ = ["SECRET_KEY", "WEBHOOK_SECRET", "Standin"]

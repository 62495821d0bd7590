"""The backoff of this process after the node said that it is too busy: for a while no call is made at all."""

import time

_SHORTEST_SECONDS = 0.25
_LONGEST_SECONDS = 8.0


class _Backoff:
    """Its length doubles with each busy answer, and a good answer resets it. Races between threads do no harm."""

    def __init__(self) -> None:
        self.until = 0.0
        self.seconds = _SHORTEST_SECONDS


_state = _Backoff()


def seconds_left() -> float:
    """For how long no call should be made."""
    return max(0.0, _state.until - time.monotonic())


def busy() -> None:
    """Note that the node is too busy. Of answers to calls that were made at the same time the first one counts."""
    if not seconds_left():
        _state.until = time.monotonic() + _state.seconds
        _state.seconds = min(2 * _state.seconds, _LONGEST_SECONDS)


def answered() -> None:
    """Note that the node has answered."""
    _state.seconds = _SHORTEST_SECONDS

"""The queue in a folder, for one machine without Redis: kombu's own, but a message is whole when it appears."""

import uuid
from pathlib import Path
from time import monotonic_ns
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """kombu opens a message under its final name and writes it then; a worker that reads in between dies of it."""

    def _put(self, queue: str, payload: Any, **options: Any) -> None:
        # kombu reads in the order of the names, and only what ends in the queue's.
        name = f"{monotonic_ns() // 1_000_000}_{uuid.uuid4()}"
        draft = Path(self.data_folder_out, f"{name}.draft")
        draft.write_text(dumps(payload))
        draft.rename(draft.with_name(f"{name}.{queue}.msg"))


class Transport(filesystem.Transport):
    """Takes the place of kombu's behind filesystem:// (marketplace/celery.py)."""

    Channel = Channel

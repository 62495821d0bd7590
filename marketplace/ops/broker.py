"""The file broker, for one machine without Redis: kombu's filesystem transport, with atomic message writes."""

import uuid
from pathlib import Path
from time import monotonic_ns
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """Writes each message atomically. kombu writes under the final name, and a worker crashes on a partial message."""

    def _put(self, queue: str, payload: Any, **options: Any) -> None:
        # kombu reads in name order and takes only names that end with the queue's.
        name = f"{monotonic_ns() // 1_000_000}_{uuid.uuid4()}"
        draft = Path(self.data_folder_out, f"{name}.draft")
        draft.write_text(dumps(payload))
        draft.rename(draft.with_name(f"{name}.{queue}.msg"))


class Transport(filesystem.Transport):
    """Replaces kombu's transport for filesystem:// (marketplace/celery.py)."""

    Channel = Channel

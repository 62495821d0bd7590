"""The queue in a folder, while one process writes and another reads."""

from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

import marketplace.celery  # noqa: F401 - it puts our transport in kombu's place.
from marketplace.ops import broker


def connected(folder: Path) -> Connection:
    for name in ("messages", "processed", "control"):
        (folder / name).mkdir()
    options = {"data_folder_in": str(folder / "messages"), "data_folder_out": str(folder / "messages")}
    options |= {"processed_folder": str(folder / "processed"), "control_folder": str(folder / "control")}
    return Connection("filesystem://localhost", transport_options=options)


def test_a_message_comes_out_as_it_went_in(tmp_path):
    with connected(tmp_path) as connection:
        assert isinstance(connection.transport, broker.Transport)
        with connection.SimpleQueue("wake") as queue:
            for number in range(3):
                queue.put({"number": number})
            got = [queue.get(timeout=10) for _ in range(3)]
            assert sorted(message.payload["number"] for message in got) == [0, 1, 2]
            with pytest.raises(queue.Empty):
                queue.get(block=False)


def test_a_message_that_is_being_written_is_not_there_yet(tmp_path):
    """A worker that read half of one ended, with everything it had to do."""
    with connected(tmp_path) as connection:
        channel = connection.channel()
        looks = []

        class Slow:
            def __json__(self) -> str:
                looks.append("while it is written")
                with pytest.raises(Empty):
                    channel._get("wake")
                return "whole"

        channel._put("wake", {"it": Slow()})
        assert looks
        assert channel._get("wake") == {"it": "whole"}

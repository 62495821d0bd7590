"""Beat's scheduler: Celery's, in a folder that it creates, and without a traceback for each task it cannot send."""

from pathlib import Path
from typing import Any

from celery.beat import PersistentScheduler, ScheduleEntry

from payments.outages import BROKER


class Scheduler(PersistentScheduler):
    """Celery's scheduler. A task that could not be sent is due again at its next time."""

    def _open_schedule(self) -> Any:
        Path(self.schedule_filename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open_schedule()

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send a due task. While the broker is away the log says so once, however many tasks are due."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:
            BROKER.failed(error.__cause__ or error)
        else:
            BROKER.answered()

    def _ensure_connected(self) -> Any:
        attempts = self.app.conf.broker_connection_max_retries
        return self.connection.ensure_connection(lambda error, _: BROKER.failed(error), attempts)

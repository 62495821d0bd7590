"""How many messages wait at the broker for a worker, asked without Celery, which takes long to import."""

from pathlib import Path

from django.conf import settings

_QUEUE = "celery"
_TIMEOUT_SECONDS = 1


class BrokerUnreachable(Exception):
    """The broker does not answer. Nothing is lost: it carries wake-ups only."""


def waiting() -> int:
    """How many messages wait. Raises BrokerUnreachable."""
    if settings.CELERY_BROKER_URL.startswith("filesystem:"):
        folder = Path(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_in"])
        try:
            return sum(file.name.endswith(f".{_QUEUE}.msg") for file in folder.iterdir())
        except OSError as error:
            raise BrokerUnreachable(str(error)) from error
    import redis

    limits = {"socket_connect_timeout": _TIMEOUT_SECONDS, "socket_timeout": _TIMEOUT_SECONDS}
    try:
        with redis.Redis.from_url(settings.CELERY_BROKER_URL, **limits) as client:
            return int(client.llen(_QUEUE))
    except (redis.RedisError, ValueError) as error:
        raise BrokerUnreachable(str(error)) from error

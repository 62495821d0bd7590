"""How gunicorn serves the shop. docs/configuration.md explains the variables."""

import os
import shutil
import tempfile
from typing import Any

from gunicorn import glogging

bind = os.environ.get("WEB_BIND", "127.0.0.1:8000")
wsgi_app = "marketplace.wsgi"
proc_name = "pennypress"

# Threads, because a buyer's request waits here for the chain and uses no CPU meanwhile.
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "64"))
# Imported once and shared by the workers: half the time to start, less memory, and a dead worker is replaced at once.
# Nothing is connected and no thread is started at import, so a fork inherits neither.
preload_app = True

keepalive = 30
timeout = 60
# Longer than a purchase waits for its settlement, so that a restart interrupts no purchase.
graceful_timeout = 15

# A payment with a contract wallet's signature and an echoed quote is a long header. Anything longer is junk.
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 16_384

# Django decides whether to trust proxy headers (TRUST_PROXY_HEADERS). Here no client, not even one on this machine, may
# change the path or scheme of a request with a header.
forwarded_allow_ips = ""

accesslog = None


class Logger(glogging.Logger):
    """Gunicorn's own lines go where the shop's lines go, and in the same form (LOGGING in marketplace/settings.py)."""

    def setup(self, cfg: Any) -> None:
        """Also called when the configuration is read again."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


logger_class = Logger
# No control socket: signals are enough, and a socket that controls the server would need protection.
control_socket_disable = True

# Each web process counts its requests in a file here, and whichever is asked for /metrics adds them up. A new folder at
# each start, because the library would add what former processes have left.
_counts = tempfile.mkdtemp(prefix="pennypress-metrics-")
os.environ.update(PROMETHEUS_MULTIPROC_DIR=_counts)


def on_exit(server: object) -> None:
    """Remove the counts."""
    shutil.rmtree(_counts, ignore_errors=True)

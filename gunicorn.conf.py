"""How gunicorn serves the shop. docs/configuration.md explains the variables."""

import os

bind = os.environ.get("WEB_BIND", "127.0.0.1:8000")
wsgi_app = "marketplace.wsgi"
proc_name = "pennypress"

# Threads, because a buyer waits here for the chain and costs nothing while waiting.
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "64"))
# Each worker opens its own database connections; none may be inherited by a fork.
preload_app = False

keepalive = 30
timeout = 60
# Longer than a purchase that waits for its settlement, so that a restart cuts nobody off in between.
graceful_timeout = 15

# A payment with a contract wallet's signature and an echoed quote is a long header; a longer one is junk.
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 16_384

# What a proxy says about the client is the settings' business (TRUST_PROXY_HEADERS), and nobody who connects from
# this machine may change the path or the scheme of a request with a header.
forwarded_allow_ips = ""

accesslog = None
errorlog = "-"
# No command socket: signals are enough, and a file that steers the server would need guarding.
control_socket_disable = True

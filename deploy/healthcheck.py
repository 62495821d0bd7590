"""The container's health check: requests /healthz on WEB_BIND's port, with the Host header of BASE_URL."""

import os
import sys
import urllib.request
from urllib.parse import urlsplit

port = os.environ.get("WEB_BIND", "127.0.0.1:8000").rpartition(":")[2]
host = urlsplit(os.environ.get("BASE_URL", "http://localhost:8000")).netloc
request = urllib.request.Request(f"http://127.0.0.1:{port}/healthz", headers={"Host": host})  # noqa: S310
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    sys.exit(direct.open(request, timeout=3).status != 200)
except OSError as error:
    sys.exit(f"/healthz: {error}")

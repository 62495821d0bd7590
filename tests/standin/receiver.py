"""An endpoint for webhooks, as a shop has one: it verifies with the SDK and keeps what it got."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stripe

SECRET = "whsec_of_these_tests"


class Receiver:
    """An endpoint that verifies what it gets, and keeps the events. The next `refusals` deliveries get a 500."""

    def __init__(self) -> None:
        self.events: list[stripe.Event] = []
        self.tries = self.refusals = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                payload = self.rfile.read(int(self.headers["Content-Length"]))
                outer.tries += 1
                outer.refusals, refused = max(0, outer.refusals - 1), outer.refusals > 0
                if not refused:
                    signature = self.headers["Stripe-Signature"]
                    outer.events.append(stripe.Webhook.construct_event(payload, signature, SECRET))
                self.send_response(500 if refused else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def kinds(self) -> list[str]:
        return [event.type for event in self.events]

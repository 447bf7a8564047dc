"""The lab's own image: answers every HTTP request with the request and the pod as JSON. ``PORT=80,8080`` sets
the ports.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["main"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fields = {
            "pod": os.environ.get("HOSTNAME", socket.gethostname()),
            "node": os.environ.get("NODE_NAME", ""),
            "client": self.client_address[0].removeprefix("::ffff:"),
            "server": self.connection.getsockname()[0].removeprefix("::ffff:"),
            "port": self.connection.getsockname()[1],
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers.items()),
            "body": body.decode(errors="replace"),
        }
        text = json.dumps(fields).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 -- the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as http.server calls it
        sys.stderr.write(f"{self.client_address[0].removeprefix('::ffff:')} {format % args}\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _DualStack(_Server):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def main() -> None:
    """Serve until SIGTERM."""
    # PID 1 of a namespace gets no signal by default: wait for it explicitly
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    kind = _DualStack if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6") else _Server  # noqa: PTH110
    for port in os.environ.get("PORT", "80").split(","):
        server = kind(("::" if kind is _DualStack else "", int(port)), _Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()

"""The lab's own image: answers every HTTP request with the request and the pod as JSON, and everything else
with itself.

``PORT=80,8080`` sets the TCP ports, ``UDP_PORT=53`` the UDP ports.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Handler", "main", "serve"]

_CHUNK = 1 << 16


class Handler(BaseHTTPRequestHandler):
    """Answers requests with `answer`; what isn't HTTP comes back as it is."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def answer(self, body: bytes) -> tuple[int, str, str]:
        """The status, the Content-Type and the text of the answer."""
        fields = {
            "pod": os.environ.get("HOSTNAME", socket.gethostname()),
            "node": os.environ.get("NODE_NAME", ""),
            "client": self.client,
            "server": self.connection.getsockname()[0].removeprefix("::ffff:"),
            "port": self.connection.getsockname()[1],
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers.items()),
            "body": body.decode(errors="replace"),
        }
        return 200, "application/json", json.dumps(fields) + "\n"

    @property
    def client(self) -> str:
        """The client's address."""
        return str(self.client_address[0]).removeprefix("::ffff:")

    def handle(self) -> None:
        """HTTP, or an echo where the first byte can't begin a method."""
        try:
            first = self.connection.recv(1, socket.MSG_PEEK)
            if first.isalpha() and first.isupper():
                super().handle()
                return
            while data := self.connection.recv(_CHUNK):
                self.connection.sendall(data)
        except OSError:  # the client has gone, or says nothing
            self.close_connection = True

    def _answer(self) -> None:
        status, kind, text = self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 -- the names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- as http.server calls it
        sys.stderr.write(f"{self.client} {format % args}\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class _DualStack(_Server):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def _echo_datagrams(connection: socket.socket) -> None:
    while True:
        data, client = connection.recvfrom(_CHUNK)
        connection.sendto(data, client)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def serve(handler: type[Handler], ports: Iterable[int], udp_ports: Iterable[int] = ()) -> None:
    """Serve until SIGTERM."""
    # PID 1 of a namespace gets no signal by default: wait for it explicitly
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    dual = socket.has_ipv6 and os.path.exists("/proc/net/if_inet6")  # noqa: PTH110
    for port in ports:
        server = (_DualStack if dual else _Server)(("::" if dual else "", port), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for port in udp_ports:
        connection = socket.socket(socket.AF_INET6 if dual else socket.AF_INET, socket.SOCK_DGRAM)
        connection.bind(("::" if dual else "", port))
        threading.Thread(target=_echo_datagrams, args=(connection,), daemon=True).start()
    signal.sigwait({signal.SIGTERM})


def main() -> None:
    """Serve the ports of the environment."""
    serve(Handler, _numbers(os.environ.get("PORT", "80")), _numbers(os.environ.get("UDP_PORT", "")))


if __name__ == "__main__":
    main()

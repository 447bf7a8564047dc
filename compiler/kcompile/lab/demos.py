"""Well-known images that only show something: ``python -m kcompile.lab.demos NAME ARGUMENT...``.

http-echo (hashicorp), whoami (traefik), hello-app (google-samples), agnhost (e2e-test-images: netexec,
serve-hostname, pause). They answer as those do, as far as demonstrations look at it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from .echo import Handler, serve

__all__ = ["main"]

_PLAIN = "text/plain; charset=utf-8"
_Answer = tuple[int, str]


def _hostname() -> str:
    return os.environ.get("HOSTNAME", socket.gethostname())


def _handler(answer: Callable[[Handler], _Answer]) -> type[Handler]:
    """A handler that answers with the status and the text of `answer`."""

    class Plain(Handler):
        def answer(self, body: bytes) -> tuple[int, str, str]:
            del body
            status, text = answer(self)
            return status, _PLAIN, text

    return Plain


def _http_echo(words: list[str]) -> None:
    parser = argparse.ArgumentParser("http-echo", allow_abbrev=False)
    parser.add_argument("-text", "--text", default=os.environ.get("ECHO_TEXT", ""))
    parser.add_argument("-listen", "--listen", default=":5678")
    parser.add_argument("-status-code", "--status-code", type=int, default=200)
    options = parser.parse_args(words)
    port = int(options.listen.rpartition(":")[2])
    serve(_handler(lambda _: (options.status_code, options.text + "\n")), [port])


def _whoami(words: list[str]) -> None:
    parser = argparse.ArgumentParser("whoami", allow_abbrev=False)
    parser.add_argument("-port", "--port", type=int, default=int(os.environ.get("WHOAMI_PORT_NUMBER", "80")))
    parser.add_argument("-name", "--name", default=os.environ.get("WHOAMI_NAME", ""))
    options = parser.parse_args(words)

    def answer(request: Handler) -> _Answer:
        name = [f"Name: {options.name}"] if options.name else []
        address, port = request.client, request.client_address[1]
        server = request.connection.getsockname()[0].removeprefix("::ffff:")
        lines = [
            *name,
            f"Hostname: {_hostname()}",
            "IP: 127.0.0.1",
            f"IP: {server}",
            f"RemoteAddr: {address}:{port}",
            f"{request.command} {request.path} {request.request_version}",
            *(f"{key}: {value}" for key, value in request.headers.items()),
        ]
        return 200, "\n".join(lines) + "\n"

    serve(_handler(answer), [options.port])


def _hello_app(words: list[str]) -> None:
    del words
    text = f"Hello, world!\nVersion: 1.0.0\nHostname: {_hostname()}\n"
    serve(_handler(lambda _: (200, text)), [int(os.environ.get("PORT", "8080"))])


def _netexec(request: Handler) -> _Answer:
    """The paths of agnhost netexec (test/images/agnhost/netexec)."""
    parts = urlsplit(request.path)
    known = {
        "/": "NOW: ready",
        "/hostname": _hostname(),
        "/hostName": _hostname(),
        "/clientip": f"{request.client}:{request.client_address[1]}",
        "/healthz": "",
        "/echo": parse_qs(parts.query).get("msg", [""])[0],
    }
    return (200, known[parts.path]) if parts.path in known else (404, "404 page not found\n")


def _agnhost(words: list[str]) -> None:
    command, options = (words or ["pause"])[0], " ".join(words[1:])

    def port(name: str, default: int) -> int:
        found = re.search(rf"--{name}[= ](\d+)", options)
        return int(found[1]) if found else default

    if command == "pause":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.sigwait({signal.SIGTERM})
    elif command == "serve-hostname":
        serve(_handler(lambda _: (200, _hostname())), [port("port", 9376)])
    elif command == "netexec":
        serve(_handler(_netexec), [port("http-port", 8080)], [port("udp-port", 8081)])
    else:
        raise SystemExit(f"agnhost {command}: a lab has netexec, serve-hostname and pause")


_DEMOS = {"http-echo": _http_echo, "whoami": _whoami, "hello-app": _hello_app, "agnhost": _agnhost}


def main() -> None:
    """Run what the first argument names, with the others."""
    _DEMOS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    main()

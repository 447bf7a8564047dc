"""A request over HTTP in the current network namespace."""

from __future__ import annotations

import http.client
import socket

__all__ = ["get", "refused"]


def get(port: int, path: str = "/", host: str = "127.0.0.1") -> tuple[int, str]:
    """The status and the body. Raises ConnectionRefusedError where nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def refused(port: int, host: str = "127.0.0.1") -> bool:
    """Whether nobody listens."""
    try:
        socket.create_connection((host, port), timeout=10).close()
    except ConnectionRefusedError:
        return True
    return False

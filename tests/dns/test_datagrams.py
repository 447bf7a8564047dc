"""Questions and answers in batches, over IPv4 and IPv6."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from kcompile.dns.datagrams import MOST, Datagrams


@contextlib.contextmanager
def pair(address: str) -> Iterator[tuple[Datagrams, socket.socket]]:
    """A server's socket, and a client's that is connected to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as own, socket.socket(family, socket.SOCK_DGRAM) as client:
        own.bind((address, 0))
        own.setblocking(False)
        client.connect(own.getsockname())
        client.settimeout(5)
        yield Datagrams(own), client


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_each_has_its_answer(address: str):
    with pair(address) as (datagrams, client):
        assert datagrams.received() == []
        sent = [bytes((number,)) * (number + 1) for number in range(MOST + 2)]
        for each in sent:
            client.send(each)
        first = datagrams.received()
        datagrams.send([None if number % 3 else each * 2 for number, each in enumerate(first)])
        rest = datagrams.received()
        assert first + rest == sent
        assert datagrams.client(1)[:2] == client.getsockname()[:2]
        datagrams.send(rest)
        expected = [each * 2 for each in first[::3]] + rest
        assert [client.recv(4096) for _ in expected] == expected


def test_who_is_gone_costs_nobody_an_answer():
    with pair("127.0.0.1") as (datagrams, client):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"bye", datagrams.sock.getsockname())
        client.send(b"here")
        messages = datagrams.received()
        assert messages == [b"bye", b"here"]
        datagrams.send(messages)
        datagrams.send([])
        assert client.recv(10) == b"here"


def test_one_that_is_too_long_is_cut():
    with pair("127.0.0.1") as (datagrams, client):
        client.send(bytes(5000))
        assert [len(message) for message in datagrams.received()] == [4096]

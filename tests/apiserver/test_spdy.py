"""Frames of SPDY: what is broken is refused, and what comes in pieces is put together."""

import contextlib
import struct
import zlib

import pytest
from hypothesis import given, strategies

from kcompile.apiserver.pods import spdy
from kcompile.apiserver.pods.spdy import Frame, FrameError, Kind, Spdy, data_frame, pong


def test_the_dictionary_is_the_protocols():
    assert (len(spdy._DICTIONARY), zlib.adler32(spdy._DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_frames_in_pieces():
    sent = data_frame(5, b"hello") + pong(7) + data_frame(5, b"", last=True)
    reading, found = Spdy(), []
    for byte in sent:
        found += reading.feed(bytes((byte,)))
    assert found == [
        Frame(Kind.DATA, 5, b"hello"),
        Frame(Kind.PING, 7),
        Frame(Kind.DATA, 5, b"", last=True),
    ]


def opening(headers: bytes) -> bytes:
    compress = zlib.compressobj(zdict=spdy._DICTIONARY)
    block = compress.compress(headers) + compress.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">IIIIH", 0x80030001, 10 + len(block), 1, 0, 0) + block


def test_the_headers_of_a_stream():
    pair = struct.pack(">I", 1) + struct.pack(">I4sI2s", 4, b"port", 2, b"80")
    assert list(Spdy().feed(opening(pair))) == [Frame(Kind.OPEN, 1, headers={"port": "80"})]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", 0x80020001, 0),  # version 2
        struct.pack(">III", 0x800300FF, 4, 1),  # an unknown kind
        struct.pack(">II", 0x80030001, 0),  # a stream without a number
        struct.pack(">II", 1, 0xFFFFFF),  # larger than anybody sends
        opening(struct.pack(">I", 2)),  # headers that end too soon
    ],
)
def test_what_isnt_spdy(data):
    with pytest.raises(FrameError):
        list(Spdy().feed(data))


@given(strategies.binary(max_size=200))
def test_anything_is_frames_or_refused(data):
    with contextlib.suppress(FrameError):
        assert all(isinstance(each, Frame) for each in Spdy().feed(b"\x80\x03\0" + data))

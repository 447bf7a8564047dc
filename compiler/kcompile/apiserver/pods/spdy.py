"""The frames of SPDY/3.1, as far as kubectl's port-forward uses them.

https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/; no flow control, as moby/spdystream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

__all__ = ["Frame", "FrameError", "Kind", "Spdy", "data_frame", "pong"]

_VERSION = 0x8003
_FIN = 1
_HEADER = struct.Struct(">II")  # a stream, or a version and a kind; flags and length
_NUMBER = struct.Struct(">I")
_LENGTH = 0xFFFFFF
_STREAM = 0x7FFFFFFF
_LONGEST = 1 << 20  # bytes of a frame that is taken
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base content-encoding "
    "content-language content-length content-location content-md5 content-range content-type date etag "
    "expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since "
    "last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer "
    "retry-after server te trailer transfer-encoding upgrade user-agent vary via warning "
    "www-authenticate method get status"
)
_PHRASES = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
_REST = (
    "1001012012022052063003023033043053063074024054064074084094104114124134144154164175025045052"
    "03 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


class FrameError(ValueError):
    """What came isn't a frame of SPDY/3."""


class Kind(IntEnum):
    """Kinds of frames. DATA isn't a control frame, and has no number on the wire."""

    DATA = 0
    OPEN = 1  # SYN_STREAM
    REPLY = 2  # SYN_REPLY
    RESET = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW = 9


class Frame(NamedTuple):
    """`stream`: which one; of a PING its number. `last`: the sender writes no more to the stream.

    `headers`: of OPEN, the names in lower case.
    """

    kind: Kind
    stream: int
    data: bytes = b""
    last: bool = False
    headers: Mapping[str, str] = {}


def _text(words: str | bytes) -> bytes:
    """Text behind its length."""
    plain = words.encode() if isinstance(words, str) else words
    return _NUMBER.pack(len(plain)) + plain


_DICTIONARY = b"".join(map(_text, (*_WORDS.split(), *_PHRASES))) + _REST.encode()
"""What zlib knows of headers before the first: part of the protocol."""


class Spdy:
    """One end of a connection: headers are compressed over all frames of it, one way and the other."""

    def __init__(self) -> None:
        self._inflate, self._deflate = (
            zlib.decompressobj(zdict=_DICTIONARY),
            zlib.compressobj(zdict=_DICTIONARY),
        )
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with `data`; others wait for the rest.

        :raises FrameError: where there is something else
        """
        self._rest += data
        while len(self._rest) >= _HEADER.size:
            first, second = _HEADER.unpack_from(self._rest)
            length = second & _LENGTH
            if length > _LONGEST:
                raise FrameError(f"a frame of {length} bytes")
            end = _HEADER.size + length
            if len(self._rest) < end:
                return
            body, self._rest = self._rest[_HEADER.size : end], self._rest[end:]
            yield self._frame(first, second >> 24, body)

    def _frame(self, first: int, flags: int, body: bytes) -> Frame:
        last = bool(flags & _FIN)
        if not first >> 31:
            return Frame(Kind.DATA, first, body, last)
        if first >> 16 != _VERSION:
            raise FrameError(f"version {(first >> 16) & 0x7FFF}")
        try:
            kind, stream = Kind(first & 0xFFFF), _NUMBER.unpack_from(body)[0] & _STREAM
        except (ValueError, struct.error) as error:
            raise FrameError(str(error)) from None
        return Frame(kind, stream, last=last, headers=self._headers(body[10:]) if kind is Kind.OPEN else {})

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            text = self._inflate.decompress(block)
            count, place = _NUMBER.unpack_from(text)[0], _NUMBER.size
            words = []
            for _ in range(2 * count):
                length = _NUMBER.unpack_from(text, place)[0]
                place += _NUMBER.size + length
                words.append(text[place - length : place].decode())
        except (zlib.error, struct.error, UnicodeDecodeError) as error:
            raise FrameError(str(error)) from None
        return dict(zip(words[::2], words[1::2], strict=True))

    def reply(self, stream: int) -> bytes:
        """SYN_REPLY without headers: the stream is taken."""
        block = self._deflate.compress(_NUMBER.pack(0)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(Kind.REPLY, _NUMBER.pack(stream) + block)


def data_frame(stream: int, data: bytes, *, last: bool = False) -> bytes:
    """Data of a stream; `last`: no more will come."""
    return _HEADER.pack(stream, (_FIN if last else 0) << 24 | len(data)) + data


def pong(number: int) -> bytes:
    """The answer to a PING."""
    return _control(Kind.PING, _NUMBER.pack(number))


def _control(kind: Kind, body: bytes) -> bytes:
    return _HEADER.pack(_VERSION << 16 | kind, len(body)) + body

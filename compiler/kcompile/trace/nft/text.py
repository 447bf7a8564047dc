"""nft's language to the form of libnftables-json(5): the part of it that lowered Programs are written in.

A list's words follow nft(8). What isn't in the grammar raises Unknown: never a guess.
"""

from __future__ import annotations

import re
from typing import Any

from .values import Unknown

__all__ = ["expression", "statements"]

_TOKEN = re.compile(r'"(?P<quoted>[^"]*)"|(?P<sign>!=|==|[{},&|^])|(?P<word>[^\s{},&|^!=]+)')
_TABLES = {"ip", "ip6", "tcp", "udp", "sctp", "th"}
_FIELDS = {"saddr", "daddr", "sport", "dport", "protocol", "nexthdr"}
_ENDS = {"accept", "drop", "reject", "return", "continue"}
_PREFIX = re.compile(r"([0-9a-fA-F:.]+)/(\d+)$")


def statements(text: str) -> list[Any]:
    """The statements of a rule, without its comment.

    :raises Unknown: for a word that the grammar lacks
    """
    reader = _Reader(text)
    found = []
    while reader.more():
        found.append(_statement(reader))
    return found


def expression(text: str) -> Any:
    """An element's key or data: ``10.0.0.1 . tcp . 80``, ``goto NAME``, a word. Raises Unknown."""
    reader = _Reader(text)
    found = _verdict(reader) if reader.peek() in ("goto", "jump") or text in _ENDS else _right(reader)
    if reader.more():
        raise Unknown(f"{reader.peek()} in {text}")
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self._at = text, 0
        self._words = [
            (match["quoted"], True) if match["quoted"] is not None else (match[match.lastgroup or 0], False)
            for match in _TOKEN.finditer(text)
        ]

    def more(self) -> bool:
        return self._at < len(self._words)

    def peek(self) -> str:
        return self._words[self._at][0] if self.more() else ""

    def next(self) -> str:
        if not self.more():
            raise Unknown(f"the end of {self.text}")
        self._at += 1
        return self._words[self._at - 1][0]

    def takes(self, *words: str) -> bool:
        """True, and past them, if `words` come next."""
        there = tuple(word for word, _ in self._words[self._at : self._at + len(words)])
        if there == words:
            self._at += len(words)
            return True
        return False

    def expect(self, word: str) -> None:
        if not self.takes(word):
            raise Unknown(f"{self.peek() or 'the end'} instead of {word} in {self.text}")


def _statement(reader: _Reader) -> Any:
    word = reader.peek()
    if word in _ENDS or word in ("goto", "jump"):
        return _verdict(reader)
    if reader.takes("counter"):
        return {"counter": None}
    if reader.takes("masquerade"):
        return {
            "masquerade": {"flags": reader.next()} if reader.peek() in ("fully-random", "random") else None
        }
    if reader.takes("update"):
        name = reader.next()
        reader.expect("{")
        element = _left(reader)
        reader.expect("}")
        return {"set": {"op": "update", "elem": element, "set": name}}
    if reader.takes("dnat"):
        return _dnat(reader)
    if reader.takes("meta", "mark", "set"):
        return {"mangle": {"key": {"meta": {"key": "mark"}}, "value": _left(reader)}}
    left = _left(reader)
    if reader.takes("vmap"):
        return {"vmap": {"key": left, "data": _data(reader)}}
    op = reader.next() if reader.peek() in ("!=", "==") else "=="
    return {"match": {"op": op, "left": left, "right": _right(reader)}}


def _verdict(reader: _Reader) -> Any:
    word = reader.next()
    if word in ("goto", "jump"):
        return {word: {"target": reader.next()}}
    if word == "reject" and reader.takes("with"):
        reader.next(), reader.next()
    return {word: None}


def _dnat(reader: _Reader) -> Any:
    body: dict[str, Any] = {}
    if reader.peek() in ("ip", "ip6") and reader.takes(reader.peek(), "to"):
        pass
    else:
        reader.expect("to")
    if reader.peek() in _TABLES:
        key = _left(reader)
        reader.expect("map")
        body["addr"] = {"map": {"key": key, "data": _data(reader)}}
        return {"dnat": body}
    address, _, port = reader.next().rpartition(":")
    return {"dnat": {"addr": address.strip("[]"), "port": int(port)}}


def _left(reader: _Reader) -> Any:
    """An expression: parts with dots between them, each with operators of bits behind it."""
    parts = [_operand(reader)]
    while reader.takes("."):
        parts.append(_operand(reader))
    return parts[0] if len(parts) == 1 else {"concat": parts}


def _operand(reader: _Reader) -> Any:
    found = _primary(reader)
    while reader.peek() in ("&", "|", "^"):
        sign = reader.next()
        found = {sign: [found, _constant(reader.next())]}
    return found


def _primary(reader: _Reader) -> Any:
    word = reader.next()
    match word:
        case "ip" | "ip6" | "tcp" | "udp" | "sctp" | "th" if reader.peek() in _FIELDS:
            return {"payload": {"protocol": word, "field": reader.next()}}
        case "meta":
            return {"meta": {"key": reader.next()}}
        case "iifname" | "oifname":
            return {"meta": {"key": word}}
        case "ct":
            return {"ct": {"key": reader.next()}}
        case "fib":
            flag = reader.next()
            return {"fib": {"flags": [flag], "result": reader.next()}}
        case "numgen":
            mode = reader.next()
            reader.expect("mod")
            return {"numgen": {"mode": mode, "mod": int(reader.next()), "offset": 0}}
    raise Unknown(f"{word} in {reader.text}")


def _right(reader: _Reader) -> Any:
    """What an expression is compared with, or an element."""
    if reader.peek() == "{":
        return {"set": _list(reader)}
    parts = [_constant(reader.next())]
    while reader.takes("."):
        parts.append(_constant(reader.next()))
    return parts[0] if len(parts) == 1 else {"concat": parts}


def _data(reader: _Reader) -> Any:
    """A named map, or one that is listed: ``{ 0 : goto a, 1 : goto b }``."""
    if reader.peek() != "{":
        return reader.next()
    reader.expect("{")
    pairs = []
    while not reader.takes("}"):
        key = _right(reader)
        reader.expect(":")
        data = (
            _verdict(reader)
            if reader.peek() in ("goto", "jump") or reader.peek() in _ENDS
            else _right(reader)
        )
        pairs.append([key, data])
        reader.takes(",")
    return {"set": pairs}


def _list(reader: _Reader) -> list[Any]:
    reader.expect("{")
    found = []
    while not reader.takes("}"):
        found.append(_right(reader))
        reader.takes(",")
    return found


def _constant(word: str) -> Any:
    if match := _PREFIX.match(word):
        return {"prefix": {"addr": match[1], "len": int(match[2])}}
    if word.isdecimal():
        return int(word)
    return int(word, 16) if word.startswith("0x") else word

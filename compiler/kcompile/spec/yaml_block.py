"""The plainest YAML, read line by line: block style, one key a line, as kubectl and people mostly write it.

Several times faster than libyaml's events. It accepts nothing that it isn't sure of: `NotPlain` sends the
text to the general reader (yaml_reader.py), which also words every error.
docs/adr/0011-yaml-in-two-readers.md has the reasons.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from .yaml_scalars import plain

__all__ = ["NOTHING", "NotPlain", "block_document"]

NOTHING = object()
"""What a text without any line of content comes to."""

_MAX_DEPTH = 100
_CHUNK = 1 << 18  # characters whose lines are in memory at once
_KNOWN = 1 << 16  # lines that are remembered
_DASH = len("- ")

_KEY = r"[A-Za-z0-9][A-Za-z0-9_./-]{0,255}"
# A plain scalar in block context: no ": " and no " #" inside, no indicator in front.
_PLAIN = r"(?:[A-Za-z0-9/_.]|-(?=[!-~]))[!-9;-~]*(?:(?::(?=[!-~])| +(?=[!\"$-~]))[!-9;-~]*)*"
_COMMON = re.compile(rf"( *)(- )?(?:({_KEY}):(?: +({_PLAIN}))?|({_PLAIN})) *")
_ANY = re.compile(rf"( *)(- )?(?:({_KEY}): +)?([^ ].*?) *")
_DOUBLE = re.compile(r'"[^"\\]*"')
_ESCAPED = re.compile(r'"(?:[^"\\]|\\["\\nt])*"')
_SINGLE = re.compile(r"'(?:[^']|'')*'")

# What a line holds.
_SCALAR, _OPEN, _EMPTY, _TEXT, _SKIP = range(5)
_SPECIAL = {"{}": (_EMPTY, dict), "[]": (_EMPTY, list), "|": (_TEXT, False), "|-": (_TEXT, True)}

# Column, whether a dash is there, one of the above, the key or None; the value: of _SCALAR the scalar, of
# _EMPTY the collection's type, of _TEXT whether the last line's end goes.
_Line = tuple[int, bool, int, str | None, Any]
_IGNORED: _Line = (0, False, _SKIP, None, None)
_known: dict[str, _Line] = {}


class NotPlain(Exception):  # noqa: N818 -- an answer more than an error
    """The text has YAML that this module doesn't read."""


def block_document(text: str) -> Any:
    """The value of one document, without its mark.

    NOTHING where it has only blank lines and comments. Raises NotPlain.
    """
    document: dict[str, Any] = {}  # the value of its key "" is the document's
    node: Any = document  # the innermost open collection
    indent = -1  # its column
    key: str | None = ""  # in a mapping: the key whose value comes on the next lines
    outer: list[tuple[Any, int]] = []  # the collections around it, with their columns
    for column, dash, how, name, value in _lines(text):
        while indent > column:
            node, indent = outer.pop()
            key = None
        if dash:
            if key is not None:
                outer.append((node, indent))
                node[key] = node = []
                indent, key = column, None
            if indent != column or node.__class__ is not list:
                raise NotPlain
            if name is None:
                node.append(value)
                continue
            outer.append((node, indent))
            node.append(node := {})
            indent = column = column + _DASH
        elif key is not None and indent != column:
            outer.append((node, indent))
            node[key] = node = {}
            indent = column
        elif node.__class__ is list:  # at the column of the mapping that it is in: it ends here
            node, indent = outer.pop()
        if indent != column or name in node or (how == _OPEN and len(outer) > _MAX_DEPTH):
            raise NotPlain
        if how == _SCALAR:
            node[name] = value
            key = None
        elif how == _OPEN:
            node[name], key = None, name
        else:
            node[name] = value()
            key = None
    return document.get("", NOTHING)


def _lines(text: str) -> Iterator[_Line]:
    """What each line of `text` holds; a block scalar is one line. Raises NotPlain."""
    if not text.isascii() or not text.replace("\n", "").isprintable():  # tabs too
        raise NotPlain
    known = _known.get
    lines = chain.from_iterable(_chunks(text))
    for line in lines:
        found = known(line) or _line(line)
        while found[2] == _TEXT:
            column, dash, _, name, strip = found
            block = _Block(column + _DASH if dash else column)
            after = block.read(lines)
            if after is None and not text.endswith("\n"):  # the scalar's end would be missing too
                raise NotPlain
            yield column, dash, _SCALAR, name, block.text(strip)
            if after is None:
                return
            found = known(after) or _line(after)
        if found[2] != _SKIP:
            yield found


def _chunks(text: str) -> Iterator[list[str]]:
    """The lines of `text`, some at a time: a large document's are never all in memory."""
    start, length = 0, len(text)
    while start < length:
        end = text.find("\n", start + _CHUNK)
        end = length if end < 0 else end
        yield text[start:end].split("\n")
        start = end + 1


def _line(line: str) -> _Line:
    """The meaning of `line`, from the cache if it is there. Raises NotPlain."""
    found = _meaning(line)
    if len(_known) >= _KNOWN:
        _known.clear()
    _known[line] = found
    return found


def _meaning(line: str) -> _Line:
    match = _COMMON.fullmatch(line)
    if match is not None:
        spaces, dash, name, text, bare = match.groups()
        if name is None:
            if dash is None:
                raise NotPlain
            return len(spaces), True, _SCALAR, None, plain(bare)
        if text is None:
            return len(spaces), dash is not None, _OPEN, name, None
        return len(spaces), dash is not None, _SCALAR, name, plain(text)
    content = line.lstrip(" ")
    if not content or content[0] == "#":
        return _IGNORED
    match = _ANY.fullmatch(line)
    if match is None:
        raise NotPlain
    spaces, dash, name, text = match.groups()
    how, value = _SPECIAL.get(text) or (_SCALAR, _quoted(text))
    if name is None and (dash is None or how != _SCALAR):
        raise NotPlain
    return len(spaces), dash is not None, how, name, value


def _quoted(text: str) -> str:
    if _DOUBLE.fullmatch(text):
        return text[1:-1]
    if _SINGLE.fullmatch(text):
        return text[1:-1].replace("''", "'")
    if _ESCAPED.fullmatch(text):
        unescaped: str = json.loads(text)
        return unescaped
    raise NotPlain


class _Block:
    """A literal block scalar (``key: |``) in a mapping whose column is `outer`."""

    def __init__(self, outer: int) -> None:
        self.outer = outer
        self.indent = 0  # not known before the first line with something in it
        self.lines: list[str] = []

    def read(self, lines: Iterator[str]) -> str | None:
        """Take its lines from `lines`; returns the first line after it, None at the end of the text."""
        for line in lines:
            if not self._takes(line):
                return line
        return None

    def text(self, strip: bool) -> str:
        """The value: without the final line break where `strip`. Raises NotPlain for a blank one."""
        if not self.indent:
            raise NotPlain
        text = "\n".join(self.lines).rstrip("\n")
        return text if strip else f"{text}\n"

    def _takes(self, line: str) -> bool:
        """True if `line` belongs to it."""
        column = len(line) - len(line.lstrip(" "))
        if column == len(line):
            if column > self.indent:  # may be content; before the first line: not known yet
                raise NotPlain
            self.lines.append("")
            return True
        if column < (self.indent or self.outer + 1):
            return False
        self.indent = self.indent or column
        self.lines.append(line[self.indent :])
        return True

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

_KEY = r"[A-Za-z0-9][A-Za-z0-9_./-]{0,255}"
# A plain scalar in block context: no ": " and no " #" inside, no indicator in front.
_PLAIN = r"(?:[A-Za-z0-9/_.]|-(?=[!-~]))[!-9;-~]*(?:(?::(?=[!-~])| +(?=[!\"$-~]))[!-9;-~]*)*"
_COMMON = re.compile(rf"( *)(- )?(?:({_KEY}):(?: +({_PLAIN}))?|({_PLAIN})) *")
_ANY = re.compile(rf"( *)(- )?(?:({_KEY}): +)?([^ ].*?) *")
_DOUBLE = re.compile(r'"[^"\\]*"')
_ESCAPED = re.compile(r'"(?:[^"\\]|\\["\\nt])*"')
_SINGLE = re.compile(r"'(?:[^']|'')*'")

# What a line holds.
_SCALAR, _OPEN, _MAP, _LIST, _TEXT, _SKIP = range(6)
_SPECIAL = {"{}": (_MAP, None), "[]": (_LIST, None), "|": (_TEXT, False), "|-": (_TEXT, True)}

# Column, whether a dash is there, one of the above, the key or None, the scalar.
_Line = tuple[int, bool, int, str | None, Any]
_IGNORED: _Line = (0, False, _SKIP, None, None)
_known: dict[str, _Line] = {}


class NotPlain(Exception):  # noqa: N818 -- an answer more than an error
    """There is more to this text than is known here."""


def block_document(text: str) -> Any:
    """The value of one document, without its mark.

    NOTHING where it has only blank lines and comments. Raises NotPlain.
    """
    if not text.isascii() or not text.replace("\n", "").isprintable():  # tabs too
        raise NotPlain
    root: Any = NOTHING
    node: Any = None  # the innermost open collection
    indent = -1  # its column
    key: str | None = None  # in a mapping: the key whose value is to come on the next lines
    outer: list[tuple[Any, int]] = []  # the collections around it
    block: _Block | None = None
    known = _known.get
    for line in chain.from_iterable(_chunks(text)):
        if block is not None:
            if block.takes(line):
                continue
            block.end()
            block = None
        column, dash, how, name, value = known(line) or _line(line)
        if how == _SKIP:
            continue
        while indent > column:
            node, indent = outer.pop()
            key = None
        if dash:
            if node is None:
                root = node = []
                indent = 0
            elif key is not None:
                outer.append((node, indent))
                node[key] = node = []
                indent, key = column, None
            elif node.__class__ is not list:
                raise NotPlain
            if indent != column:
                raise NotPlain
            if name is None:
                node.append(value)
                continue
            outer.append((node, indent))
            node.append(node := {})
            indent = column = column + 2
        elif indent != column:
            if node is None:
                root = node = {}
                indent = 0
            elif key is not None:
                outer.append((node, indent))
                node[key] = node = {}
                indent = column
        elif node.__class__ is list:  # at the column of the mapping that it is in: it ends here
            node, indent = outer.pop() if outer else (node, -1)
        if indent != column or name is None or name in node:
            raise NotPlain
        if how == _SCALAR:
            node[name] = value
            key = None
        elif how == _OPEN:
            node[name], key = None, name
            if len(outer) > _MAX_DEPTH:
                raise NotPlain
        else:
            key = None
            if how == _TEXT:
                block = _Block(node, name, indent, value)
            else:
                node[name] = {} if how == _MAP else []
    if block is not None:
        if not text.endswith("\n"):  # its last line is without its end, and so is the scalar
            raise NotPlain
        block.end()
    return root


def _chunks(text: str) -> Iterator[list[str]]:
    """The lines of `text`, some at a time: a large document's are never all in memory."""
    start, length = 0, len(text)
    while start < length:
        end = text.find("\n", start + _CHUNK)
        end = length if end < 0 else end
        yield text[start:end].split("\n")
        start = end + 1


def _line(line: str) -> _Line:
    """What `line` holds."""
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
    """A literal block scalar (``key: |``) as far as it has come: the value of `key` in `node`, whose column
    is `outer`.
    """

    def __init__(self, node: dict[str, Any], key: str, outer: int, strip: bool) -> None:
        self.node, self.key, self.outer, self.strip = node, key, outer, strip
        self.indent = 0  # not known before the first line with something in it
        self.lines: list[str] = []

    def takes(self, line: str) -> bool:
        """Whether `line` belongs to it."""
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

    def end(self) -> None:
        """Put the text in its place."""
        if not self.indent:
            raise NotPlain
        text = "\n".join(self.lines).rstrip("\n")
        self.node[self.key] = text if self.strip else text + "\n"

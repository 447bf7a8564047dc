"""YAML text to plain Python values: the plainest documents line by line (yaml_block.py), the others from
libyaml's events.

PyYAML's own composer recurses in C (deep nesting ends the process), expands what aliases point to again and
again, lets a key occur twice and reads ``12:30`` as 750. Kubernetes' reader (sigs.k8s.io/yaml over go-yaml
v2) does none of it; scalars are resolved by its table (yaml_scalars.py): timestamps stay strings, keys are
always strings. No recursion here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from .text import Wrong, join_path, shown
from .yaml_block import NOTHING, NotPlain, block_document
from .yaml_scalars import plain

__all__ = ["Duplicate", "Piece", "event_documents", "yaml_documents"]

MAX_DEPTH = 200  # the deepest CRD schemas have about 60 levels
MAX_ALIASED = 1_000_000  # nodes that aliases may stand for, in one file
MAX_EMPTY = 100_000  # documents without anything in them; a template that renders to nothing leaves one

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG = "tag:yaml.org,2002:"
_RESOLVED_TAGS = {f"{_TAG}int", f"{_TAG}float", f"{_TAG}bool", f"{_TAG}null"}
_TEXT_TAGS = {"!", f"{_TAG}str", f"{_TAG}timestamp"}
_COLLECTION_TAGS = {None, "!", f"{_TAG}map", f"{_TAG}seq"}
_MENDINGS = 100  # of one document, each of which reads it once more
_REREAD = 16 << 20  # characters, in all of them
_DIRECTIVES = ("%", "...")
_LINE = re.compile(r"\bline (\d+)(?=, column)")
_FLOW_PLAIN = re.compile(r"(?::(?!\s)|[^\s:,?\[\]{}])+")
_plain = lru_cache(maxsize=65536)(plain)
_UNREAD = object()
_OPEN = object()  # stands for an anchored collection until it ends


class Duplicate(NamedTuple):
    """A key that occurs twice in its mapping: its path from the top of the document, and line and column."""

    path: tuple[str | int, ...]
    message: str

    @property
    def field(self) -> str:
        """The path as the API spells one."""
        field = ""
        for step in self.path:
            field = join_path(field, step) if isinstance(step, str) else f"{field}[{step}]"
        return field

    def moved(self, lines: int) -> Duplicate:
        """The same, `lines` further down in the file."""
        return self._replace(message=_moved(self.message, lines))

    def inside(self, depth: int) -> Duplicate:
        """The same, seen from the value that is `depth` steps down its path."""
        return self._replace(path=self.path[depth:])


def yaml_documents(data: bytes, duplicates: list[Duplicate] | None = None) -> Iterator[tuple[int, Any]]:
    """Each document's 1-based number and value. Raises `Wrong`, never a YAMLError.

    A key that occurs twice is Wrong; with a list of `duplicates` it is put there, and the later value counts.
    """
    empty = 0
    for number, value in _documents(data, duplicates):
        empty += value is None
        if empty > MAX_EMPTY:
            raise Wrong(f"more than {MAX_EMPTY:,} empty documents", document=number)
        yield number, value


def _documents(data: bytes, duplicates: list[Duplicate] | None) -> Iterator[tuple[int, Any]]:
    number, aliased = 0, _Aliased()
    for piece in _pieces(data):
        try:
            value = block_document(piece.text)
        except NotPlain:
            value = _UNREAD
        if value is _UNREAD:
            for value in event_documents(piece, number, aliased, duplicates):
                number += 1
                yield number, value
        elif value is not NOTHING or piece.marked:
            number += 1
            yield number, None if value is NOTHING else value


class Piece(NamedTuple):
    """A part of a file: one document where `marked` or without any mark inside, else whatever it is."""

    text: str
    line: int  # how many lines are before it
    marked: bool  # a line "---" is before it


def _pieces(data: bytes) -> Iterator[Piece]:
    """`data` cut at its lines "---"; whole where it has other marks of YAML."""
    text = data.decode()
    parts = f"\n{text}".split("\n---\n")
    directives = text.startswith(_DIRECTIVES) or any(f"\n{mark}" in text for mark in _DIRECTIVES)
    if directives or _marks(text) >= len(parts):
        yield Piece(text, 0, False)
        return
    line = -1
    for number, part in enumerate(parts):
        whole = part if number == len(parts) - 1 else f"{part}\n"
        yield Piece(whole if number else whole[1:], max(line, 0), number > 0)
        line += part.count("\n") + 2


def _marks(text: str) -> int:
    """How many lines begin as the mark between documents does."""
    return text.count("\n---") + text.startswith("---")


def event_documents(
    piece: Piece, before: int = 0, aliased: _Aliased | None = None, duplicates: list[Duplicate] | None = None
) -> Iterator[Any]:
    """The documents of `piece` by libyaml's events; `before`: how many the file had before them; `duplicates`
    as in `yaml_documents`.
    """
    text = f"---\n{piece.text}" if piece.marked else piece.text
    line = piece.line - piece.marked
    done = 0
    for _ in range(min(_MENDINGS, 1 + _REREAD // (len(text) + 1))):
        found: list[Duplicate] | None = None if duplicates is None else []
        reader = _Reader(text.encode(), aliased or _Aliased(), found)
        number = 0
        try:
            for event in reader.events:
                if isinstance(event, DocumentStartEvent):
                    number += 1
                    value = reader.document()
                    if number > done:
                        done = number
                        if duplicates is not None:
                            duplicates.extend(each.moved(line) for each in found or ())
                        yield value
                    if found:
                        found.clear()
            return
        except yaml.YAMLError as error:
            quoted = _quoted(text, error)
            if quoted is None:
                raise Wrong(_moved(_syntax(error), line), document=before + max(number, 1)) from None
            text = quoted
        except Wrong as error:
            error.message = _moved(error.message, line)
            error.document = before + number
            raise
    raise Wrong(
        "too many plain scalars that end in a colon: put them in quotes", document=before + max(done, 1)
    )


def _quoted(text: str, error: yaml.YAMLError) -> str | None:
    """`text` with quotes around the plain scalar in a flow collection that ends in a colon, as in
    ``[2001:db8::]``.

    go-yaml reads it as it stands, libyaml refuses it. None where `error` is about something else.
    """
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem != "found unexpected ':'":
        return None
    if error.context_mark is None or error.problem_mark is None:
        return None
    start, colon = error.context_mark.index, error.problem_mark.index
    rest = _FLOW_PLAIN.match(text, colon)
    if rest is None:
        return None
    scalar = text[start : rest.end()].replace("'", "''")
    return f"{text[:start]}'{scalar}'{text[rest.end() :]}"


def _moved(message: str, lines: int) -> str:
    """`message` with the line that it names `lines` further down."""
    return _LINE.sub(lambda match: f"line {int(match[1]) + lines}", message, count=1)


def _syntax(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        if "maximum nesting depth" in str(error.problem):  # libyaml's own limit comes first, where it has one
            return f"line {mark.line + 1}, column {mark.column + 1}: nested more than {MAX_DEPTH} levels deep"
        context = f" {error.context}" if error.context else ""
        message = f"bad YAML at line {mark.line + 1}, column {mark.column + 1}:{context}: {error.problem}"
        return message.replace("::", ":")
    return f"bad YAML: {getattr(error, 'reason', error)}"


class _Aliased:
    """How many nodes the aliases of one file have stood for."""

    nodes = 0


class _Reader:
    """Builds the documents of one text from its events.

    `aliased` counts the nodes that aliases of its file have stood for; `anchors`: of this document, each with
    its value and how many nodes that is.
    """

    def __init__(self, data: bytes, aliased: _Aliased, duplicates: list[Duplicate] | None = None) -> None:
        self.duplicates = duplicates
        self.events: Iterator[Any] = yaml.parse(data, Loader=_Parser)
        self.aliased = aliased
        self.anchors: dict[str, tuple[Any, int]] = {}

    def document(self) -> Any:
        """Read on to the end of the document and return its value."""
        stack: list[_Frame] = []
        frame = top = _Frame([], None, 0)
        anchors = self.anchors = dict[str, tuple[Any, int]]()
        count = 0  # nodes so far, those behind aliases included
        for event in self.events:
            kind = type(event)
            count += 1
            if kind is ScalarEvent:
                if frame.wants_key:
                    frame.begin_key(event, self, stack)
                    if event.anchor:
                        anchors.setdefault(event.anchor, (event.value, 1))
                else:
                    value = event.value if event.implicit[1] else _scalar(event)
                    if event.anchor:
                        anchors[event.anchor] = value, 1
                    frame.add(value)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                done, frame = frame, stack.pop()
                value = done.finish()
                if done.anchor:
                    anchors[done.anchor] = value, count - done.start
                frame.add(value)
            elif kind is AliasEvent:
                count += self._alias(event, frame, stack)
            elif kind is DocumentEndEvent:
                return top.value[0]
            else:
                frame = self._open(event, frame, stack, count)
        raise Wrong("the document has no end")

    def _alias(self, event: Any, frame: _Frame, stack: list[_Frame]) -> int:
        """Add to `frame` what the alias stands for; returns how many nodes that is. Raises Wrong."""
        value, weight = self.anchors.get(event.anchor, (None, 0))
        if not weight:
            raise Wrong(_at(event, f"the alias *{shown(event.anchor)} has no anchor before it"))
        if value is _OPEN:
            raise Wrong(_at(event, f"the alias *{shown(event.anchor)} is inside what it stands for"))
        self.aliased.nodes += weight
        if self.aliased.nodes > MAX_ALIASED:
            raise Wrong(_at(event, f"the aliases stand for more than {MAX_ALIASED:,} values"))
        if frame.wants_key:
            frame.key_text(event, value, self, stack)
        else:
            frame.add(value)
        return weight

    def _open(self, event: Any, frame: _Frame, stack: list[_Frame], start: int) -> _Frame:
        """The frame of the mapping or sequence that starts inside `frame`. Raises Wrong."""
        if event.tag not in _COLLECTION_TAGS:
            raise Wrong(_at(event, f"the tag {shown(event.tag)} is not allowed"))
        if frame.wants_key:
            raise Wrong(_at(event, "a mapping or list can't be a key"))
        stack.append(frame)
        if len(stack) > MAX_DEPTH:
            raise Wrong(_at(event, f"nested more than {MAX_DEPTH} levels deep"))
        if event.anchor:
            self.anchors[event.anchor] = _OPEN, 1
        return _Frame({} if type(event) is MappingStartEvent else [], event.anchor, start)


class _Frame:
    """One open collection: `value` so far, for a mapping the key whose value comes next, and the mappings to
    merge in at its end.
    """

    __slots__ = ("anchor", "is_map", "key", "merge", "merges", "start", "value", "wants_key")

    def __init__(self, value: Any, anchor: str | None, start: int) -> None:
        self.value, self.anchor, self.start = value, anchor, start
        self.is_map = self.wants_key = isinstance(value, dict)
        self.key = ""
        self.merge = False
        self.merges: list[dict[str, Any]] = []

    def begin_key(self, event: Any, reader: _Reader, stack: list[_Frame]) -> None:
        if event.implicit[0] and event.value == "<<":
            self.merge, self.wants_key = True, False
        else:
            self.key_text(event, event.value, reader, stack)

    def key_text(self, event: Any, text: Any, reader: _Reader, stack: list[_Frame]) -> None:
        if not isinstance(text, str):
            raise Wrong(_at(event, "a key must be text"))
        if text in self.value:
            if reader.duplicates is None:
                raise Wrong(_at(event, f"the key {shown(text)} occurs twice"))
            steps = (frame.key if frame.is_map else len(frame.value) for frame in stack[1:])
            mark = event.start_mark
            message = f"duplicate key (line {mark.line + 1}, column {mark.column + 1})"
            reader.duplicates.append(Duplicate((*steps, text), message))
        self.key, self.wants_key = text, False

    def add(self, value: Any) -> None:
        """The next element, or the value of the last key."""
        if not self.is_map:
            self.value.append(value)
            return
        self.wants_key = True
        if not self.merge:
            self.value[self.key] = value
            return
        self.merge = False
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise Wrong("'<<' merges mappings only")
            self.merges.append(source)

    def finish(self) -> Any:
        """The value, with what is merged in: written keys win, then those of the earlier source."""
        for source in self.merges:
            for key, value in source.items():
                self.value.setdefault(key, value)
        return self.value


def _at(event: Any, message: str) -> str:
    return f"line {event.start_mark.line + 1}, column {event.start_mark.column + 1}: {message}"


def _scalar(event: Any) -> Any:
    """The value of a plain or a tagged scalar."""
    if event.implicit[0]:
        return _plain(event.value)
    if event.tag in _TEXT_TAGS:
        return event.value
    if event.tag in _RESOLVED_TAGS:
        return _plain(event.value)
    raise Wrong(_at(event, f"the tag {shown(event.tag)} is not allowed"))

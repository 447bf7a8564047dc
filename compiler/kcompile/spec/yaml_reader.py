"""YAML text to plain Python values, in one pass over libyaml's events and without recursion.

PyYAML's own composer recurses in C (deep nesting ends the process), expands what aliases point to again and again,
lets a key occur twice and reads ``12:30`` as 750. Kubernetes' reader (sigs.k8s.io/yaml over go-yaml v2) does none of it;
scalars are resolved here by its table (go-yaml resolve.go): timestamps stay strings, keys are always strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import yaml
from yaml.events import AliasEvent, DocumentEndEvent, DocumentStartEvent, MappingEndEvent, MappingStartEvent, ScalarEvent, SequenceEndEvent

from .text import Wrong, join_path, shown

__all__ = ["Duplicate", "yaml_documents"]

MAX_DEPTH = 200  # the deepest CRD schemas have about 60 levels
MAX_ALIASED = 1_000_000  # nodes that aliases may stand for, in one file
MAX_EMPTY = 100_000  # documents without anything in them; a template that renders to nothing leaves one

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_TAG = "tag:yaml.org,2002:"
_RESOLVED_TAGS = {f"{_TAG}int", f"{_TAG}float", f"{_TAG}bool", f"{_TAG}null"}
_TEXT_TAGS = {"!", f"{_TAG}str", f"{_TAG}timestamp"}
_COLLECTION_TAGS = {None, "!", f"{_TAG}map", f"{_TAG}seq"}
_OPEN = object()  # stands for an anchored collection until it ends


class Duplicate(NamedTuple):
    """A key that occurs twice in its mapping: the way to it from the top of the document, and where that is."""

    path: tuple[str | int, ...]
    message: str

    @property
    def field(self) -> str:
        """The path as the API spells one."""
        field = ""
        for step in self.path:
            field = join_path(field, step) if isinstance(step, str) else f"{field}[{step}]"
        return field

    def inside(self, depth: int) -> Duplicate:
        """The same, seen from the value that is `depth` steps down its path."""
        return self._replace(path=self.path[depth:])


def yaml_documents(data: bytes, duplicates: list[Duplicate] | None = None) -> Iterator[tuple[int, Any]]:
    """Each document's 1-based number and value. Raises `Wrong`, never a YAMLError.

    A key that occurs twice is Wrong; with a list of `duplicates` it is put there, and the later value counts.
    """
    number = empty = 0
    reader = _Reader(data, duplicates)
    try:
        for event in reader.events:
            if isinstance(event, DocumentStartEvent):
                number += 1
                value = reader.document()
                empty += value is None
                if empty > MAX_EMPTY:
                    raise Wrong(f"more than {MAX_EMPTY:,} empty documents")
                yield number, value
    except yaml.YAMLError as error:
        raise Wrong(_syntax(error), document=max(number, 1)) from None
    except Wrong as error:
        error.document = number
        raise


def _syntax(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        if "maximum nesting depth" in str(error.problem):  # libyaml's own limit comes first, where it has one
            return f"line {mark.line + 1}, column {mark.column + 1}: nested more than {MAX_DEPTH} levels deep"
        context = f" {error.context}" if error.context else ""
        return f"bad YAML at line {mark.line + 1}, column {mark.column + 1}:{context}: {error.problem}".replace("::", ":")
    return f"bad YAML: {getattr(error, 'reason', error)}"


class _Reader:
    """The state of one file: the event stream and how many nodes aliases have stood for so far."""

    def __init__(self, data: bytes, duplicates: list[Duplicate] | None) -> None:
        self.duplicates = duplicates
        self.events: Iterator[Any] = yaml.parse(data, Loader=_Parser)
        self.aliased = 0

    def document(self) -> Any:
        """Read on to the end of the document and return its value."""
        stack: list[_Frame] = []
        frame = top = _Frame([], None, 0)
        anchors: dict[str, tuple[Any, int]] = {}
        count = 0  # nodes so far, those behind aliases included
        for event in self.events:
            kind = type(event)
            count += 1
            if kind is ScalarEvent:
                if frame.wants_key:
                    frame.begin_key(event, self, stack)
                else:
                    value = event.value if event.implicit[1] else _scalar(event)
                    if event.anchor:
                        anchors[event.anchor] = value, 1
                    frame.add(value)
                if event.anchor and event.anchor not in anchors:
                    anchors[event.anchor] = event.value, 1
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                done, frame = frame, stack.pop()
                value = done.finish()
                if done.anchor:
                    anchors[done.anchor] = value, count - done.start
                frame.add(value)
            elif kind is AliasEvent:
                value, weight = anchors.get(event.anchor, (None, 0))
                if not weight:
                    raise Wrong(_at(event, f"the alias *{shown(event.anchor)} has no anchor before it"))
                if value is _OPEN:
                    raise Wrong(_at(event, f"the alias *{shown(event.anchor)} is inside what it stands for"))
                count += weight
                self.aliased += weight
                if self.aliased > MAX_ALIASED:
                    raise Wrong(_at(event, f"the aliases stand for more than {MAX_ALIASED:,} values"))
                if frame.wants_key:
                    frame.key_text(event, value, self, stack)
                else:
                    frame.add(value)
            elif kind is DocumentEndEvent:
                return top.value[0]
            else:  # a mapping or sequence starts
                if event.tag not in _COLLECTION_TAGS:
                    raise Wrong(_at(event, f"the tag {shown(event.tag)} is not allowed"))
                if frame.wants_key:
                    raise Wrong(_at(event, "a mapping or list can't be a key"))
                stack.append(frame)
                if len(stack) > MAX_DEPTH:
                    raise Wrong(_at(event, f"nested more than {MAX_DEPTH} levels deep"))
                frame = _Frame({} if kind is MappingStartEvent else [], event.anchor, count)
                if event.anchor:
                    anchors[event.anchor] = _OPEN, 1
        raise Wrong("the document has no end")


class _Frame:
    """One open collection: `value` so far, for a mapping the key whose value comes next, and the mappings to merge in at its end."""

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
        for source in self.merges:  # what is written out wins over what is merged in, the earlier source over the later
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


@lru_cache(maxsize=65536)
def _plain(text: str) -> Any:
    """A plain scalar by go-yaml's table: null, bool, integer, float, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    try:
        if _INT.fullmatch(text):
            digits = text.replace("_", "")
            body = digits.lstrip("+-")
            octal = len(body) > 1 and body[0] == "0" and body[1] not in "xob"
            return int(digits, 8 if octal else 0)
        if _FLOAT.fullmatch(text):
            return float(text)
    except ValueError:  # no digits after the prefix, or more digits than Python converts
        pass
    return text

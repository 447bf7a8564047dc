"""Manifests from files, directories and standard input into an `Inventory`.

Pure: reads the paths it is given, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import msgspec

from ..errors import SpecError
from .decode import Decoder
from .gcpause import gc_paused
from .inventory import Inventory
from .kustomize import kustomize
from .objects import Origin
from .reader import MAX_BYTES, STDIN, Unreadable, check_text, files, read
from .template import template_in
from .text import Wrong, printable
from .yaml_reader import Duplicate, yaml_documents

__all__ = ["Text", "load", "load_texts", "texts"]

MEMORY = "<objects>"
_MALFORMED = re.compile(r"JSON is malformed: (.*) \(byte (\d+)\)")
_TRAILING = "trailing characters"
_JSON_START = re.compile(rb'\s*(?:\[|\{\s*["}])')
_json = msgspec.json.Decoder(msgspec.Raw).decode


class Text(NamedTuple):
    """What a file says, not yet looked at; `source` is its name for messages."""

    source: str
    data: bytes


class _Malformed(Wrong):
    """A text that begins as JSON but isn't."""


def load(
    paths: Sequence[str],
    *,
    stdin: BinaryIO | None = None,
    max_bytes: int = MAX_BYTES,
    recursive: bool = False,
    kustomizations: Sequence[str] = (),
    objects: Sequence[Mapping[str, Any]] = (),
    validate: str = "warn",
) -> Inventory:
    """Read every manifest of `paths` (files, directories, or ``-`` for `stdin`).

    Raises SpecError at the first thing wrong.

    `recursive`: what is in the folders of directories too; `kustomizations`: directories to read through
    kustomize; `objects`: manifests that are in memory already, after all others. `validate`: what fields are
    that the API doesn't have: ``strict`` an error, ``warn`` a warning of the Inventory, or ``ignore``.

    Namespaced objects that name no namespace are put into ``default``; the same object given twice is kept
    once.
    """
    found = texts(paths, stdin=stdin, max_bytes=max_bytes, recursive=recursive, kustomizations=kustomizations)
    return load_texts(found, objects=objects, validate=validate)


def load_texts(
    found: Iterable[Text],
    *,
    objects: Sequence[Mapping[str, Any]] = (),
    validate: str = "warn",
    decoder: Decoder | None = None,
) -> Inventory:
    """`load`, of what `texts` has read; into the inventory of `decoder` where one is given."""
    decoder = decoder or Decoder(Inventory(), validate)
    inventory = decoder.inventory
    with gc_paused():
        try:
            for text in found:
                inventory.sources.append(text.source)
                _load_file(decoder, text.source, text.data)
            if objects:
                inventory.sources.append(MEMORY)
                _load_objects(decoder, objects)
        except Unreadable as error:
            raise SpecError(error.message, source=error.source) from None
    return inventory


def texts(
    paths: Sequence[str],
    *,
    stdin: BinaryIO | None = None,
    max_bytes: int = MAX_BYTES,
    recursive: bool = False,
    kustomizations: Sequence[str] = (),
) -> Iterator[Text]:
    """The text of each file of `paths`, then of each kustomization, as `load` takes them.

    Raises Unreadable, which `load_texts` expects.
    """
    for path in files(paths, recursive=recursive):
        yield Text(STDIN if path == "-" else path, read(path, stdin, max_bytes))
    for directory in kustomizations:
        yield Text(f"{directory} (kustomize)", kustomize(directory, max_bytes))


def _load_file(decoder: Decoder, source: str, data: bytes) -> None:
    number = 0
    duplicates: list[Duplicate] = []
    try:
        data = check_text(data)
        for number, manifest in _documents(data, duplicates):
            if manifest is None:
                continue
            if not isinstance(manifest, (dict, msgspec.Raw)):
                raise Wrong("a manifest must be a mapping", document=number)
            decoder.add(manifest, Origin(source, number), tuple(duplicates))
            duplicates.clear()
    except (Wrong, SpecError) as error:
        if template := template_in(data, error.message):
            raise SpecError(template, source=printable(source)) from None
        if isinstance(error, SpecError):
            raise
        raise SpecError(
            error.message, source=printable(source), document=error.document, field=error.field
        ) from None
    except msgspec.DecodeError as error:
        # the first pass over a JSON value doesn't look into escapes and numbers
        raise SpecError(f"bad JSON: {error}", source=printable(source), document=number) from None
    except RecursionError:
        raise SpecError("nested too deep", source=printable(source), document=number) from None


def _load_objects(decoder: Decoder, objects: Sequence[Mapping[str, Any]]) -> None:
    """Each is read as its JSON would be: what the caller holds is not changed, and what JSON can't say is
    refused.
    """
    for number, manifest in enumerate(objects, 1):
        try:
            text = msgspec.json.encode(dict(manifest))
        except RecursionError:
            raise SpecError("nested too deep", source=MEMORY, document=number) from None
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            raise SpecError(f"not plain data: {error}", source=MEMORY, document=number) from None
        decoder.add(msgspec.Raw(text), Origin(MEMORY, number))


def _documents(data: bytes, duplicates: list[Duplicate]) -> Iterator[tuple[int, Any]]:
    """Each document: a msgspec.Raw object from JSON; from YAML plain values, and their duplicate keys in
    `duplicates`.
    """
    start = data[:4096].lstrip() or data.lstrip()
    if not start.startswith((b"{", b"[")):
        yield from yaml_documents(data, duplicates)
        return
    view = memoryview(data)
    number, at = 1, 0
    while at < len(data):
        try:
            end = _json_end(view[at:], data, at, number)
        except _Malformed as error:
            for _, value in _as_yaml(data, at, error):
                yield number, value
                number += 1
            return
        if data[end : end + 3] == b"---":  # JSON between YAML's marks: still YAML
            yield from yaml_documents(data, duplicates)
            return
        yield number, msgspec.Raw(view[at:end])
        number, at = number + 1, end


def _as_yaml(data: bytes, at: int, error: _Malformed) -> list[tuple[int, Any]]:
    """The documents from byte `at` on, which aren't JSON, as YAML: ``{a: b}``, a trailing comma. Raises
    Wrong, or _Malformed's error.
    """
    lines = data.count(b"\n", 0, at)
    try:
        found = list(yaml_documents(b"\n" * lines + data[at:]))
    except Wrong as wrong:
        if _JSON_START.match(data, at):
            raise error from None
        wrong.document += error.document - 1
        raise
    if not all(value is None or isinstance(value, dict) for _, value in found):
        raise error
    return found


def _json_end(rest: memoryview, data: bytes, at: int, number: int) -> int:
    """The offset after the JSON value that starts `rest` (`data` from `at`) and the blanks that follow it."""
    try:
        _json(rest)
    except msgspec.DecodeError as error:
        match = _MALFORMED.fullmatch(str(error))
        if match is None:
            raise Wrong(f"bad JSON: {str(error)[:1].lower()}{str(error)[1:]}", document=number) from None
        position = at + int(match[2])
        if match[1] == _TRAILING:
            return position - 1  # msgspec counts the first trailing character as read
        line, start = data.count(b"\n", 0, position) + 1, data.rfind(b"\n", 0, position) + 1
        raise _Malformed(
            f"bad JSON at line {line}, column {position - start + 1}: {match[1]}", document=number
        ) from None
    return len(data)

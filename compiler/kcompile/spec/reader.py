"""Paths to bytes: which files a path means, and reading one without trusting it.

A path is a file, a directory (its ``*.yaml``, ``*.yml`` and ``*.json``, sorted; those of its folders too with
kubectl's ``-R``), or ``-``.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from .opening import Refused, read_descriptor, read_path
from .text import Wrong, printable

__all__ = ["MAX_BYTES", "STDIN", "SUFFIXES", "Unreadable", "check_text", "files", "read"]

MAX_BYTES = 128 << 20
STDIN = "<stdin>"
_URL = re.compile(r"https?://", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
SUFFIXES = (".yaml", ".yml", ".json")


class Unreadable(Wrong):
    """A path can't be read; `source` is its name for messages."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(message)
        self.source = printable(source)


def files(paths: Sequence[str], *, recursive: bool = False) -> Iterator[str]:
    """The files that `paths` mean, in order; ``-`` stays as it is."""
    for path in paths:
        if not path:  # Path("") would be the working directory
            raise Unreadable('""', "not a file name")
        if _URL.match(path):
            raise Unreadable(
                path, f"a URL is not fetched here: curl -sSL {shlex.quote(path)} | kcompile plan -f -"
            )
        if path == "-" or not Path(path).is_dir():
            yield path
            continue
        try:
            found = _below(path) if recursive else _inside(path)
        except OSError as error:
            raise Unreadable(path, f"can't read the directory: {error.strerror}") from None
        if not found:
            below = "" if recursive or not _has_below(path) else "; its folders do: -R reads them too"
            raise Unreadable(path, f"the directory holds no .yaml, .yml or .json file{below}")
        yield from found


def _is_manifest(entry: os.DirEntry[str]) -> bool:
    """True by its name. An unreadable file counts, and is an error later: a dangling link must not drop
    Services.

    Locks of Emacs are such links, and don't count.
    """
    return entry.name.endswith(SUFFIXES) and not entry.name.startswith(".#") and not entry.is_dir()


def _inside(directory: str) -> list[str]:
    """The manifests that are in `directory` itself."""
    return sorted(entry.path for entry in os.scandir(directory) if _is_manifest(entry))


def _below(directory: str) -> list[str]:
    """The manifests in `directory` and all folders below it.

    Links to folders are not followed, as kubectl doesn't.
    """
    found: list[str] = []
    folders = [directory]
    while folders:
        for entry in os.scandir(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif _is_manifest(entry):
                found.append(entry.path)
    return sorted(found)


def _has_below(directory: str) -> bool:
    """True if a folder below has manifests, as far as folders can be read."""
    try:
        return bool(_below(directory))
    except OSError:
        return False


def read(path: str, stdin: BinaryIO | None, max_bytes: int) -> bytes:
    """The file's bytes, at most `max_bytes`; a longer regular file, and what has no end, is refused before it
    is read.
    """
    name = STDIN if path == "-" else path
    try:
        data = _read_stdin(stdin, max_bytes) if path == "-" else read_path(path, max_bytes)
    except OSError as error:
        raise Unreadable(name, error.strerror or "can't be read") from None
    except ValueError:  # a NUL in the path
        raise Unreadable(name, "not a file name") from None
    if len(data) > max_bytes:
        raise Unreadable(name, f"more than the limit of {max_bytes:,} bytes")
    return data


def _read_stdin(stdin: BinaryIO | None, max_bytes: int) -> bytes:
    """All of `stdin`, by default the process's; one without a descriptor (in memory) by its own read()."""
    if stdin is None and sys.stdin is None:
        raise Refused("standard input is closed")
    file = stdin or sys.stdin.buffer
    try:
        descriptor = file.fileno()
    except OSError:
        return file.read(max_bytes + 1)
    return read_descriptor(descriptor, max_bytes)


def check_text(data: bytes) -> bytes:
    """`data` without byte order marks. Raises Wrong unless it is UTF-8 text without NULs."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Wrong("not UTF-8 text but UTF-16")
    if (at := data.find(b"\0")) >= 0:
        raise Wrong(f"not a text file: NUL at byte {at}")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise Wrong(f"not UTF-8 text: bad byte at {error.start}") from None
    # Files that were joined have a mark in front of each.
    return data.removeprefix(_BOM).replace(b"\n" + _BOM, b"\n") if _BOM in data else data

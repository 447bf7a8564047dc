"""A directory with a kustomization to the manifests that kubectl or kustomize makes of it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import spawn
from .reader import Unreadable
from .text import Wrong, printable
from .yaml_reader import yaml_documents

__all__ = ["folders_of", "kustomize"]

_COMMANDS = (("kubectl", "kustomize"), ("kustomize", "build"))
_BASES = ("resources", "bases", "components")
_FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def kustomize(directory: str, max_bytes: int) -> bytes:
    """What ``kubectl kustomize`` prints for `directory`. Raises Unreadable."""
    if not any(Path(directory, name).is_file() for name in _FILES):
        raise Unreadable(directory, f"not a directory with a {_FILES[0]}")
    found = [(path, words) for words in _COMMANDS if (path := spawn.on_path(words[0]))]
    if not found:
        raise Unreadable(directory, "-k needs kubectl or kustomize, and neither is on PATH")
    program, words = found[0]
    command = [program, *words[1:], "--", str(Path(directory).absolute())]
    with tempfile.TemporaryFile() as errors:
        with spawn.popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process:
            assert process.stdout is not None
            data: bytes = process.stdout.read(max_bytes + 1)
            if len(data) > max_bytes:
                process.kill()
                raise Unreadable(directory, f"kustomize gives more than the limit of {max_bytes:,} bytes")
        if process.returncode:
            errors.seek(0)
            said = " ".join(errors.read(4096).decode(errors="replace").split())
            raise Unreadable(directory, printable(f"{' '.join(words)} failed: {said}"))
    return data


def folders_of(directory: Path) -> set[Path]:
    """The folders whose files `kustomize` may read: `directory`, all below it, and those of its bases."""
    found: set[Path] = set()
    todo = [directory.resolve()]
    while todo:
        folder = todo.pop()
        if folder in found or not folder.is_dir():
            continue
        found.add(folder)
        todo += (entry for entry in folder.iterdir() if entry.is_dir())
        todo += (base for name in _FILES for base in _bases(folder / name))
    return found


def _bases(path: Path) -> Iterator[Path]:
    """The paths that the kustomization in the file `path` names; none where it can't be read."""
    try:
        documents = [value for _, value in yaml_documents(path.read_bytes())]
    except (OSError, Wrong):
        return
    for each in documents:
        named: list[Any] = [base for key in _BASES for base in _list(each, key)]
        yield from ((path.parent / base).resolve() for base in named if isinstance(base, str))


def _list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []

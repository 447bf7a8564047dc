"""A directory with a kustomization to the manifests that kubectl or kustomize makes of it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from .. import spawn
from .reader import Unreadable
from .text import printable

__all__ = ["kustomize"]

_COMMANDS = (("kubectl", "kustomize"), ("kustomize", "build"))
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

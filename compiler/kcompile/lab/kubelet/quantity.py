"""Kubernetes quantities: ``100m``, ``64Mi``, ``1e3`` (apimachinery/pkg/api/resource). Pure."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation

__all__ = ["amount", "divided"]

_FORM = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|)")
_BINARY = {unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_SUFFIXES = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_DECIMAL = {unit: Decimal(1000) ** power for power, unit in enumerate(_SUFFIXES, -3)}


def amount(text: str) -> Decimal:
    """The number that a quantity means. Raises ValueError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    try:
        return Decimal(match[1]) * (_BINARY | _DECIMAL)[match[2]]
    except InvalidOperation:
        raise ValueError(f"{text!r} is no quantity") from None


def divided(text: str, divisor: str) -> str:
    """`text` in units of `divisor`, rounded up. Raises ValueError."""
    unit = amount(divisor) or Decimal(1)
    return str(int((amount(text) / unit).to_integral_value(ROUND_CEILING)))

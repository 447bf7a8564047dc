"""What a plain scalar of YAML means, by go-yaml's table (resolve.go)."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["plain"]

_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o[0-7_]+|0[0-7_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


def plain(text: str) -> Any:
    """A plain scalar by go-yaml's table: null, bool, integer, float, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "0123456789+-.":
        return text
    try:
        if _INT.fullmatch(text):
            digits = text.replace("_", "")
            body = digits.lstrip("+-")
            octal = len(body) > 1 and body[0] == "0" and body[1] not in "xob"
            return int(digits, 8 if octal else 0)
        if _FLOAT.fullmatch(text):
            return float(text)
    except ValueError:  # no digits after the prefix, or more digits than Python converts
        pass
    return text

"""What is written into cells: ages, selectors, lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = [
    "NONE",
    "UNKNOWN",
    "age",
    "containers",
    "first_of",
    "joined",
    "labels",
    "seconds_since",
    "selector",
    "span",
]

NONE, UNKNOWN = "<none>", "<unknown>"
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def seconds_since(time: str | None, until: str | None = None) -> float | None:
    """Seconds from a time of the API until another, or until now; None where there is no such time."""
    if not time:
        return None
    end = datetime.fromisoformat(until) if until else datetime.now(UTC)
    return (end - datetime.fromisoformat(time)).total_seconds()


def age(time: str | None) -> str:
    """How long ago a time was, as ``5m10s``."""
    seconds = seconds_since(time)
    return UNKNOWN if seconds is None else span(seconds)


def span(seconds: float) -> str:
    """HumanDuration of apimachinery: two units at most, the finer one only while it matters."""
    if seconds < -1:
        return "<invalid>"
    number = max(0, int(seconds))
    if number < 2 * _MINUTE:
        return f"{number}s"
    if number < 10 * _MINUTE:
        return _pair(number // _MINUTE, "m", number % _MINUTE, "s")
    if number < 3 * _HOUR:
        return f"{number // _MINUTE}m"
    if number < 8 * _HOUR:
        return _pair(number // _HOUR, "h", number % _HOUR // _MINUTE, "m")
    if number < 2 * _DAY:
        return f"{number // _HOUR}h"
    if number < 8 * _DAY:
        return _pair(number // _DAY, "d", number % _DAY // _HOUR, "h")
    if number < 2 * _YEAR:
        return f"{number // _DAY}d"
    if number < 8 * _YEAR:
        return _pair(number // _YEAR, "y", number % _YEAR // _DAY, "d")
    return f"{number // _YEAR}y"


def _pair(first: int, unit: str, second: int, finer: str) -> str:
    return f"{first}{unit}{second}{finer}" if second else f"{first}{unit}"


def joined(values: Iterable[str], empty: str = NONE) -> str:
    return ",".join(values) or empty


def labels(found: Mapping[str, str] | None) -> str:
    """Labels, or a selector of labels: ``a=b,c=d``."""
    return joined(f"{key}={value}" for key, value in sorted((found or {}).items()))


def selector(found: Mapping[str, Any] | None) -> str:
    """A LabelSelector, as FormatLabelSelector writes it."""
    if found is None:
        return NONE
    terms = [(key, f"{key}={value}") for key, value in (found.get("matchLabels") or {}).items()]
    terms += [(each["key"], _expression(each)) for each in found.get("matchExpressions") or ()]
    return joined(text for _, text in sorted(terms))


def _expression(each: Mapping[str, Any]) -> str:
    key, values = each["key"], ",".join(sorted(each.get("values") or ()))
    match each["operator"]:
        case "Exists":
            return str(key)
        case "DoesNotExist":
            return f"!{key}"
        case operator:
            return f"{key} {operator.lower()} ({values})"


def first_of(values: list[str], most: int = 3, empty: str = NONE) -> str:
    """The first few values, and how many more there are."""
    if not values:
        return empty
    shown = ",".join(values[:most])
    return shown if len(values) <= most else f"{shown} + {len(values) - most} more..."


def containers(pod: Mapping[str, Any]) -> tuple[str, str]:
    """The names and the images of a Pod's spec."""
    found = pod.get("containers") or ()
    names = joined((each.get("name", "") for each in found), "")
    return names, joined((each.get("image", "") for each in found), "")

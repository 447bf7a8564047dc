"""How figures are written: units, intervals, and names in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .intervals import Interval
from .measures import LOWER
from .scenario import PATHS, POSITIONS, Condition

__all__ = [
    "FIGURES",
    "MODES",
    "and_list",
    "figure_text",
    "mode_text",
    "percent",
    "place_text",
    "ratio_text",
    "seconds",
    "services_text",
    "times",
    "where",
    "worse",
]

MODES = {
    "none": "no rules",
    "again-1": "no rules, first copy",
    "again-2": "no rules, second copy",
    "conntrack": "one NAT rule",
    "linear": "kube-proxy's linear list",
}
"""Modes whose name says too little; the others are called what they are."""

FIGURES = {
    "p10": "connect, 10th percentile",
    "p50": "median",
    "p99": "99th percentile",
    "rtt": "handshake by TCP_INFO",
    "kernel_p50": "handshake in the kernel, median",
    "rate": "rate",
    "cpu": "CPU",
    "answered": "answered",
    "mbps": "throughput",
    "lost": "lost",
}

_TIMES = ("p10", "p50", "p99", "rtt", "kernel_p50", "cpu")


def mode_text(mode: str) -> str:
    return MODES.get(mode, mode)


def and_list(parts: list[str]) -> str:
    """``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def times(value: float) -> str:
    """A ratio: ``1.32``, ``12.3``, ``272``."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def ratio_text(ratio: Interval) -> str:
    """``1.32 (1.29-1.36)``."""
    return f"{times(ratio.value)} ({times(ratio.low)}\u2013{times(ratio.high)})"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"


def figure_text(figure: str, value: float) -> str:
    """`value` with its unit: figures as measures.py gives them."""
    if figure in _TIMES:
        us = value / 1000
        return (
            f"{us / 1000:,.2f} ms"
            if us >= 10_000
            else f"{us:,.0f} \u00b5s"
            if us >= 100
            else f"{us:.1f} \u00b5s"
        )
    if figure == "rate":
        return f"{value:,.0f}/s"
    if figure == "mbps":
        return f"{value / 1000:.1f} Gb/s" if value >= 1000 else f"{value:.0f} Mb/s"
    if figure == "answered":
        return f"{100 * value:.1f}%"
    return f"{value:.2f}%"


def seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def services_text(services: int) -> str:
    return "1 Service" if services == 1 else f"{services:,} Services"


def place_text(environment: Mapping[str, Any]) -> str:
    """The place of a run: ``network namespaces, Linux 6.1.0``."""
    return f"{environment['place']}, Linux {environment['machine']['kernel'].split()[0]}"


def where(condition: Condition, positions: bool = True) -> str:
    """`condition`'s path in words, with the Service's position where it matters."""
    title = PATHS[condition.path].title
    return (
        f"{title}, {condition.position} Service" if positions and condition.position in POSITIONS else title
    )


def worse(figure: str, direction: int) -> bool:
    """True if a change in `direction` (1: more) is for the worse."""
    return direction == (1 if figure in LOWER else -1)

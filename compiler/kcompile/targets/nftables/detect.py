"""Matches on where a packet comes from, in nft's spelling (pkg/proxy/util/localdetector.go)."""

from __future__ import annotations

from ...ir.node import DetectMode, Detector

__all__ = ["HOST_SOURCE", "from_pods", "not_from_pods"]

HOST_SOURCE = "fib saddr type local"


def from_pods(detector: Detector, family: str, negate: str = "") -> str:
    """A match on local pods' traffic, or "" where the detector knows none in this family.

    `negate` is ``"!= "`` or empty.
    """
    if detector.interface:
        star = "*" if detector.mode is DetectMode.INTERFACE_NAME_PREFIX else ""
        return f'iifname {negate}"{detector.interface}{star}"'
    cidr = detector.cidr(4 if family == "ip" else 6)
    return f"{family} saddr {negate}{cidr}" if cidr else ""


def not_from_pods(detector: Detector, family: str) -> str:
    return from_pods(detector, family, "!= ")

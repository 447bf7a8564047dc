"""Nodes that a Pod may not go to because of the Pods that are there, or elsewhere. Pure.

pkg/scheduler/framework/plugins: interpodaffinity and podtopologyspread, of both only what is required. Of a
namespaceSelector, and of a spread's policies and minDomains, nothing is known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..client import Obj
from .labels import matcher_of

__all__ = ["has_rules", "misplaced", "repels"]

_AFFINITY = "node(s) didn't match pod affinity rules"
_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
_EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"
_SPREAD = "node(s) didn't match pod topology spread constraints"
_SPREAD_LABEL = f"{_SPREAD} (missing required label)"

Nodes = Mapping[str, Mapping[str, str]]
"""The labels of each node."""


def _terms(pod: Obj, which: str) -> list[dict[str, Any]]:
    affinity = (pod["spec"].get("affinity") or {}).get(which) or {}
    return affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or []


def _spread(pod: Obj) -> list[dict[str, Any]]:
    found = pod["spec"].get("topologySpreadConstraints") or ()
    return [each for each in found if each.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"]


def repels(pod: Obj) -> Iterable[str]:
    """An index: ``yes`` for a Pod that keeps others away."""
    return ("yes",) if _terms(pod, "podAntiAffinity") else ()


def has_rules(pod: Obj) -> bool:
    """Whether it matters to the Pod where others are."""
    return bool(_terms(pod, "podAffinity") or _terms(pod, "podAntiAffinity") or _spread(pod))


def misplaced(pod: Obj, nodes: Nodes, others: Sequence[Obj]) -> dict[str, str]:
    """The nodes that `pod` may not go to, each with the reason. `others`: Pods that have a node."""
    reasons: dict[str, str] = {}
    for other in others:
        for term in _terms(other, "podAntiAffinity"):
            if _selects(term, other, pod):
                _refuse(reasons, nodes, term, _domains(nodes, term, [other]), _EXISTING)
    for term in _terms(pod, "podAntiAffinity"):
        found = [other for other in others if _selects(term, pod, other)]
        _refuse(reasons, nodes, term, _domains(nodes, term, found), _ANTI_AFFINITY)
    for term in _terms(pod, "podAffinity"):
        found = [other for other in others if _selects(term, pod, other)]
        if found or not _selects(term, pod, pod):  # the first of a group that wants to be together may go
            allowed = _domains(nodes, term, found)
            away = {name for name, labels in nodes.items() if labels.get(term["topologyKey"]) not in allowed}
            reasons |= {name: _AFFINITY for name in away if name not in reasons}
    for constraint in _spread(pod):
        _spread_out(reasons, pod, nodes, constraint, others)
    return reasons


def _selects(term: Mapping[str, Any], owner: Obj, other: Obj) -> bool:
    """Whether a term of `owner` is about `other`."""
    namespaces = term.get("namespaces") or [owner["metadata"]["namespace"]]
    matcher = matcher_of(term.get("labelSelector"))
    if matcher is None or other["metadata"]["namespace"] not in namespaces:
        return False
    return matcher.matches(other["metadata"].get("labels") or {})


def _domains(nodes: Nodes, term: Mapping[str, Any], pods: Iterable[Obj]) -> Counter[str]:
    """How many of `pods` are in each domain: a value of the label topologyKey."""
    key = term["topologyKey"]
    labels = [nodes.get(pod["spec"]["nodeName"], {}) for pod in pods]
    return Counter(each[key] for each in labels if key in each)


def _refuse(
    reasons: dict[str, str], nodes: Nodes, term: Mapping[str, Any], domains: Mapping[str, int], why: str
) -> None:
    for name, labels in nodes.items():
        if labels.get(term["topologyKey"]) in domains:
            reasons.setdefault(name, why)


def _spread_out(
    reasons: dict[str, str], pod: Obj, nodes: Nodes, constraint: Mapping[str, Any], others: Iterable[Obj]
) -> None:
    """One of topologySpreadConstraints: how much fuller than the emptiest domain another may be."""
    key = constraint["topologyKey"]
    counts = _domains(nodes, constraint, [other for other in others if _selects(constraint, pod, other)])
    known = {labels[key] for labels in nodes.values() if key in labels}
    least = min((counts[domain] for domain in known), default=0)
    own = int(_selects(constraint, pod, pod))
    for name, labels in nodes.items():
        if key not in labels:
            reasons.setdefault(name, _SPREAD_LABEL)
        elif counts[labels[key]] + own - least > constraint.get("maxSkew", 1):
            reasons.setdefault(name, _SPREAD)

"""Finds the Pods and workloads of an input that a selector matches, or nearly matches.

An index finds exact matches; only near ones are compared, up to a limit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import NamedTuple

from .inventory import Inventory
from .objects import Object
from .text import printable

__all__ = ["Labelled"]

_NEAR = 0.6  # SequenceMatcher's ratio from which two label values are likely meant to be one
_COMPARISONS = 20_000  # of a selector with the labels of an object, in one input
_LABELS = 4  # of a selector, in a message

_Selector = Mapping[str, str]


class Lender(NamedTuple):
    """A Pod or a workload, with the `labels` of its Pods."""

    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str]


class Labelled:
    """Every object of an input whose labels, or whose Pods' labels, a Service could select."""

    def __init__(self, inventory: Inventory) -> None:
        self._left = _COMPARISONS
        self._by_label: dict[tuple[str, str], list[Lender]] = defaultdict(list)
        self._by_namespace: dict[str, list[Lender]] = defaultdict(list)
        for one in _objects(inventory):
            self._by_namespace[one.namespace].append(one)
            for label in one.labels.items():
                self._by_label[label].append(one)

    def reason(self, namespace: str, selector: _Selector) -> str:
        """Why a Service in `namespace` with this selector has no endpoint."""
        found = self._matching(selector)
        here = [one for one in found if one.namespace == namespace]
        pods = [one for one in here if one.kind == "Pod"]
        if pods:
            have = "has" if len(pods) == 1 else "have"
            return f"{_named(pods)} that it selects {have} no address of its IP families, or ended"
        if here:
            return f"the Pods of {_named(here)} are not in the input"
        if found:
            elsewhere = f"{_titled(found[0])} is in {printable(found[0].namespace)}"
            return f"it selects {_written(selector)} in namespace {namespace}; {elsewhere}"
        near = self._nearest(namespace, selector)
        if near is not None:
            return near
        return f"nothing in the input has the labels {_written(selector)}"

    def _matching(self, selector: _Selector) -> list[Lender]:
        """The objects with all labels of `selector`, in any namespace, by the index of its rarest label."""
        rarest = min((self._by_label.get(label, []) for label in selector.items()), key=len)
        return [one for one in rarest if selector.items() <= one.labels.items()]

    def _nearest(self, namespace: str, selector: _Selector) -> str | None:
        """The difference to the nearest object, in words; None where nothing is near."""
        best: tuple[float, Lender] | None = None
        for one in self._by_namespace.get(namespace, ()):
            if self._left <= 0:
                break
            self._left -= 1
            likeness = _likeness(selector, one.labels)
            if likeness > (best[0] if best else 0):
                best = likeness, one
        if best is None:
            return None
        labels = best[1].labels
        wanted = {key: value for key, value in selector.items() if labels.get(key) != value}
        has = [
            _pair(key, labels[key]) if key in labels else f"no {printable(key)}"
            for key in list(wanted)[:_LABELS]
        ]
        return f"it selects {_written(wanted)}; {_titled(best[1])} has {', '.join(has)}"


def _objects(inventory: Inventory) -> list[Lender]:
    workloads = (*inventory.deployments, *inventory.workloads)
    lenders = [_lender(workload, workload.template.metadata.labels) for workload in workloads]
    return [*lenders, *(_lender(pod, pod.metadata.labels) for pod in inventory.pods)]


def _lender(obj: Object, labels: Mapping[str, str] | None) -> Lender:
    return Lender(type(obj).__name__, obj.metadata.namespace, obj.metadata.name, labels or {})


def _likeness(selector: _Selector, labels: Mapping[str, str]) -> float:
    """How near `labels` are to `selector`: 0 for too far, higher for more equal or similar labels."""
    equal, missing = 0, 0
    alike: list[float] = []
    for key, value in selector.items():
        if key not in labels:
            missing += 1
        elif labels[key] == value:
            equal += 1
        else:
            alike.append(SequenceMatcher(None, value, labels[key]).ratio())
    if missing > (1 if equal else 0):
        return 0
    if any(ratio < _NEAR for ratio in alike):
        return 0
    return equal + sum(alike) / 2


def _written(selector: _Selector) -> str:
    """``app=web,tier=front``."""
    pairs = [_pair(key, value) for key, value in selector.items()]
    rest = ["..."] if len(pairs) > _LABELS else []
    return ",".join(pairs[:_LABELS] + rest)


def _pair(key: str, value: str) -> str:
    return printable(f"{key}={value}")


def _titled(one: Lender) -> str:
    return printable(f"{one.kind} {one.name}")


def _named(found: list[Lender]) -> str:
    """``Deployment web`` or ``Deployment web and 2 others``."""
    more = len(found) - 1
    return _titled(found[0]) + (f" and {more} other{'s' if more > 1 else ''}" if more else "")

"""The selectors inside objects (metav1.LabelSelector, core/v1 NodeSelectorTerm) as matchers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...apiserver.selectors import Matcher, Term

__all__ = ["matcher_of", "requirements"]

_OPERATORS = {
    "In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent", "Gt": "gt", "Lt": "lt",
}  # fmt: skip


def matcher_of(selector: Mapping[str, Any] | None) -> Matcher | None:
    """A LabelSelector's matcher; None, which selects nothing, where there is no selector."""
    if selector is None:
        return None
    labels = (selector.get("matchLabels") or {}).items()
    terms = [Term(key, "in", frozenset((value,))) for key, value in labels]
    return Matcher((*terms, *requirements(selector.get("matchExpressions"))))


def requirements(expressions: Iterable[Mapping[str, Any]] | None) -> list[Term]:
    """matchExpressions as terms."""
    return [
        Term(each["key"], _OPERATORS[each["operator"]], frozenset(each.get("values") or ()))
        for each in expressions or ()
    ]

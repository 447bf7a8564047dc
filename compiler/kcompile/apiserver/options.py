"""The options of a list or a watch, as in the query of its request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .records import Stored
from .resources import Resource
from .selectors import EVERYTHING, Matcher, field_matcher, label_matcher
from .status import Cause, StatusError, bad_request, invalid

__all__ = ["Options", "Selection", "read_boolean"]

_MATCHES = ("", "Exact", "NotOlderThan")
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class Selection(NamedTuple):
    """Which objects of a resource are asked for. An empty `namespace` means all of them."""

    namespace: str = ""
    labels: Matcher = EVERYTHING
    fields: Matcher = EVERYTHING

    @property
    def everything(self) -> bool:
        """True if no selector leaves anything out."""
        return not self.labels.terms and not self.fields.terms

    def of(self, items: list[Stored]) -> list[Stored]:
        """Those of `items` that are asked for."""
        if self.everything and not self.namespace:
            return items
        return [item for item in items if self.matches(item)]

    def matches(self, item: Stored | None) -> bool:
        return (
            item is not None
            and (not self.namespace or item.namespace == self.namespace)
            and self.labels.matches(item.labels)
            and self.fields.matches(item.fields)
        )


class Options(NamedTuple):
    """ListOptions. `version` is None where no resourceVersion was given.

    `match`: resourceVersionMatch. `token`: continue. `initial_events`: sendInitialEvents, None where it
    wasn't given. `timeout`: timeoutSeconds, or 0.
    """

    selection: Selection
    watch: bool
    version: int | None
    match: str
    limit: int
    token: str
    bookmarks: bool
    initial_events: bool | None
    timeout: int

    @classmethod
    def read(cls, resource: Resource, namespace: str, query: Mapping[str, str]) -> Options:
        """Read and check the options.

        :raises StatusError: 400 for what can't be parsed, 422 for what doesn't go together
        """
        initial = query.get("sendInitialEvents", "")
        options = cls(
            selection=Selection(
                namespace,
                label_matcher(query.get("labelSelector", "")),
                field_matcher(query.get("fieldSelector", ""), resource),
            ),
            watch=read_boolean("watch", query.get("watch", "")),
            version=_version(query.get("resourceVersion", "")),
            match=query.get("resourceVersionMatch", ""),
            limit=_number("limit", query.get("limit", "")),
            token=query.get("continue", ""),
            bookmarks=read_boolean("allowWatchBookmarks", query.get("allowWatchBookmarks", "")),
            initial_events=read_boolean("sendInitialEvents", initial) if initial else None,
            timeout=_number("timeoutSeconds", query.get("timeoutSeconds", "")),
        )
        causes = _watch_causes(options) if options.watch else _list_causes(options)
        if causes:
            raise invalid("ListOptions", "", causes, "meta.k8s.io")
        return options


def _list_causes(options: Options) -> list[Cause]:
    """What is wrong with a list's options: ValidateListOptions of apimachinery."""
    causes = []
    if options.match:
        if options.version is None:
            causes.append(_forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if options.token:
            causes.append(_forbidden("resourceVersionMatch is forbidden when continue is provided"))
        if options.match not in _MATCHES:
            causes.append(_unknown_match(options.match))
        if options.match == "Exact" and options.version == 0:
            causes.append(_forbidden('resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if options.initial_events is not None:
        causes.append(_forbidden("sendInitialEvents is forbidden for list", "sendInitialEvents"))
    return causes


def _watch_causes(options: Options) -> list[Cause]:
    causes = []
    if options.initial_events is not None:
        if options.match != "NotOlderThan":
            causes.append(
                _forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
            )
        if options.token:
            causes.append(_forbidden("sendInitialEvents is forbidden when continue is provided", "continue"))
    elif options.match:
        causes.append(
            _forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        )
    return causes


def _forbidden(message: str, field: str = "resourceVersionMatch") -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {message}", field)


def _unknown_match(match: str) -> Cause:
    message = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan"'
    return Cause("FieldValueNotSupported", message, "resourceVersionMatch")


def _version(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        why = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f"invalid resource version: resourceVersion: {why}")
    return int(text)


def _number(name: str, text: str) -> int:
    if not text:
        return 0
    try:
        return max(0, int(text))
    except ValueError:
        raise _unreadable(name, text) from None


def read_boolean(name: str, text: str) -> bool:
    """A boolean of a query; false where there is none.

    :raises StatusError: 400
    """
    if text and text not in _TRUE | _FALSE:
        raise _unreadable(name, text)
    return text in _TRUE


def _unreadable(name: str, text: str) -> StatusError:
    return bad_request(f'query parameter {name}: "{text}" can\'t be read')

"""Lists: the version that is asked for, pages, and what happens when a version is forgotten or not there yet.

https://kubernetes.io/docs/reference/using-api/api-concepts/ has the table of resourceVersion forms.
"""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left
from typing import Any, NamedTuple

import msgspec

from .collection import Collection
from .options import Options
from .records import Stored
from .resources import Resource
from .status import StatusError, bad_request, expired, too_large_version
from .store import Store

__all__ = ["Listed", "list_body", "listed"]

_TOKEN_VERSION = "meta.k8s.io/v1"  # noqa: S105 -- the format of a continue token
_EXPIRED_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new "
    "list without the continue parameter, or use the continue token in this response to retrieve the "
    "remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
    "that were created, modified, or deleted between the time the first chunk was returned and now may show "
    "up in the list."
)


class _Token(msgspec.Struct):
    """A continue token. `rv`: the version of the list, -1 for "whatever is there now"."""

    v: str
    rv: int
    start: str

    def text(self) -> str:
        plain = msgspec.json.encode(self).replace(b"\x00", b"\\u0000")
        return base64.urlsafe_b64encode(plain).rstrip(b"=").decode()


class _Page(NamedTuple):
    """The objects in the order of their keys at `version`; the page begins at the key `start`."""

    items: list[Stored]
    version: int
    start: str = ""


class Listed(NamedTuple):
    """A page of a list: its objects, and the ListMeta."""

    items: list[Stored]
    meta: dict[str, Any]


def listed(store: Store, collection: Collection, options: Options) -> Listed:
    """What a list answers.

    :raises StatusError: 400 for a wrong token, 410 for a forgotten version, 504 for one in the future
    """
    with store.lock:
        page = _continued(store, collection, options) if options.token else _asked(store, collection, options)
    limit = 0 if options.version == 0 and not options.token else options.limit  # as from its watch cache
    first = bisect_left(page.items, page.start, key=_key) if page.start else 0
    chosen = options.selection.of(page.items[first:])
    left = len(chosen) - limit
    meta: dict[str, Any] = {"resourceVersion": str(page.version)}
    if not limit or left <= 0:
        return Listed(chosen, meta)
    chosen = chosen[:limit]
    meta["continue"] = _Token(_TOKEN_VERSION, page.version, f"/{chosen[-1].key}\x00").text()
    if options.selection.everything:
        meta["remainingItemCount"] = left
    return Listed(chosen, meta)


def list_body(resource: Resource, page: Listed) -> bytes:
    """The list's JSON."""
    head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": page.meta}
    start = msgspec.json.encode(head)
    return b'%b,"items":[%b]}' % (start[:-1], b",".join([item.text for item in page.items]))


def _key(item: Stored) -> str:
    return item.key


def _asked(store: Store, collection: Collection, options: Options) -> _Page:
    """The first page."""
    version = options.version
    if version and version > store.version:
        raise too_large_version(version, store.version)
    exact = options.match == "Exact" or (not options.match and options.limit)
    if version and exact:
        return _Page(collection.sorted_at(version), version)
    return _Page(collection.sorted_now(), store.version)


def _continued(store: Store, collection: Collection, options: Options) -> _Page:
    """The page that a token names, of the same version as the first where that is known."""
    if options.version:
        raise bad_request("specifying resource version is not allowed when using continue")
    token = _read(options.token)
    if token.rv < 0:
        return _Page(collection.sorted_now(), store.version, token.start)
    try:
        return _Page(collection.sorted_at(token.rv), token.rv, token.start)
    except StatusError:
        again = _Token(_TOKEN_VERSION, -1, token.start).text()
        raise expired(_EXPIRED_CONTINUE, again) from None


def _read(text: str) -> _Token:
    try:
        plain = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        token = msgspec.json.decode(plain, type=_Token)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from None
    if token.v != _TOKEN_VERSION or not token.start:
        raise bad_request("invalid continue token: continue key is not valid: incorrect encoded version")
    token.start = token.start.removeprefix("/")
    return token

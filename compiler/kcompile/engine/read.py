"""Reads and checks an input: all that needs neither the node nor its lock, however long it takes to come."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..errors import EmptyInputError, InputError, KcompileError
from .progress import Progress, silent
from .request import Request, configuration

if TYPE_CHECKING:
    from ..kernel.itemized import Itemized
    from ..spec.config import Config
    from ..spec.inventory import Inventory
    from ..spec.load import Text
    from ..spec.objects import Node

__all__ = [
    "Edited",
    "Input",
    "Known",
    "Unread",
    "read_again",
    "read_cluster_input",
    "read_input",
    "read_services",
    "require_services",
]


class Input(NamedTuple):
    """Checked objects: each is sound by itself, and no two of them conflict.

    `node`: which of the Nodes this one is, None without any. `basis`: the digest of what it was read from
    (engine/basis.py), empty where nobody asked for it. `items`: its objects, where edits of them can be told.
    """

    config: Config
    inventory: Inventory
    node: Node | None
    basis: bytes = b""
    items: Itemized | None = None


class Unread(NamedTuple):
    """What an earlier apply has read and checked already, byte for byte: `basis` is the same.

    `read` reads it all the same.
    """

    config: Config
    basis: bytes
    read: Reading


class Edited(NamedTuple):
    """What an earlier apply has read, but for the EndpointSlices of a few `services`; `part` is those.

    `since`: the digest of the dataplane that was remembered. `given`: the basis of that, `basis` the new one.
    """

    config: Config
    basis: bytes
    given: bytes
    since: bytes
    services: frozenset[str]
    part: Input
    items: Itemized
    read: Reading


class Known(NamedTuple):
    """What is known of the input of the last apply: its basis (empty: nothing), and its objects."""

    given: bytes = b""
    items: Itemized | None = None


def read_again(
    request: Request, progress: Progress, known: Callable[[], Known], *, on_node: bool = True
) -> Input | Unread | Edited:
    """`read_input`, as far as the input isn't `known`, which is called once the files have been read.

    Raises InputError, as `read_input`.
    """
    from ..spec.load import texts
    from .basis import given_basis
    from .edit import itemize, touched

    _require_something(request)
    progress("reading specs")
    config = configuration(request)
    found = _Texts(texts(**request.where))
    basis = given_basis(request, config, found.held)

    read = Reading(request, progress, on_node, config, found, basis)
    if found.failure is None:
        before = known()
        if basis == before.given:
            return Unread(config, basis, read)
        items = itemize(request, config, found.held, before.items)
        read.items = items.known if items else None
        if items and before.items and (edit := touched(items, before.items)):
            with contextlib.suppress(KcompileError):  # what is wrong is said of the whole
                part = read_input(request, progress, on_node=on_node, config=config, found=[edit.text])
                since = before.items.applied
                services, given, new = edit.services, before.given, items.known
                return Edited(config, basis, given, since, services, part, new, read)
    return read()


class Reading:
    """Reads an input whose `texts` are in memory.

    `items`: its objects, where edits of them can be told.
    """

    def __init__(
        self, request: Request, progress: Progress, on_node: bool, config: Config, texts: _Texts, basis: bytes
    ) -> None:
        self._request, self._progress, self._on_node = request, progress, on_node
        self._config, self._basis = config, basis
        self._texts: _Texts | None = texts
        self.items: Itemized | None = None

    def __call__(self) -> Input:
        """Once only. Raises InputError, as `read_input`."""
        found, self._texts = self._texts, None
        given = read_input(
            self._request, self._progress, on_node=self._on_node, config=self._config, found=found
        )
        return given._replace(basis=self._basis, items=self.items)

    def drop(self) -> None:
        """Free the texts: nobody is going to read them."""
        self._texts = None


class _Texts:
    """The texts of an input, each given once, with the `failure` that comes after the last one."""

    def __init__(self, found: Iterable[Text]) -> None:
        self.held: list[Text] = []
        self.failure: Exception | None = None
        try:
            self.held += found
        except Exception as failure:
            self.failure = failure

    def __iter__(self) -> Iterator[Text]:
        while self.held:
            yield self.held.pop(0)
        if self.failure is not None:
            raise self.failure


def read_input(
    request: Request,
    progress: Progress = silent,
    *,
    on_node: bool = False,
    config: Config | None = None,
    found: Iterable[Text] | None = None,
) -> Input:
    """The configuration and manifests of `request`, as one of their nodes is to see them.

    :param on_node: this process is on that node: where nothing else names it, it has the host's name
    :param config: the configuration, where that has been read already
    :param found: the texts of the manifests, where those have
    :raises InputError: for whatever is wrong with them; for an input without any Service too, unless
        `request.allow_empty`
    """
    from ..spec.node import pick_node

    config, inventory, *_ = read_cluster_input(request, progress, config=config, found=found)
    name = request.node.strip().lower() if request.node else config.hostname
    if on_node and not name and not inventory.nodes:
        from ..kernel.facts import hostname

        name = hostname()
    node = pick_node(inventory, name or None)
    return Input(msgspec.structs.replace(config, hostname=name), inventory, node)


def read_cluster_input(
    request: Request,
    progress: Progress = silent,
    *,
    config: Config | None = None,
    found: Iterable[Text] | None = None,
) -> Input:
    """The configuration and manifests of `request`, whichever node looks at them.

    Raises InputError, as `read_input`.
    """
    from ..spec.validate import validate

    _require_something(request)
    progress("reading specs")
    config = configuration(request) if config is None else config
    inventory = _load(request, found)
    progress("checking specs")
    validate(inventory)
    require_services(inventory, request)
    return Input(config, inventory, None)


def read_services(request: Request) -> set[str]:
    """The ``namespace/name`` of each Service in the manifests of `request`.

    Raises InputError where there is none.
    """
    inventory = _load(request)
    require_services(inventory, request)
    return {service.key for service in inventory.services}


def _load(request: Request, found: Iterable[Text] | None = None) -> Inventory:
    from ..spec.load import load_texts, texts

    found = texts(**request.where) if found is None else found
    return load_texts(found, objects=request.objects, validate=request.strictness)


def _require_something(request: Request) -> None:
    if not request.reads:
        raise InputError("nothing to read: give manifests with -f FILE, -f DIRECTORY, -f - or -k DIRECTORY")


def require_services(inventory: Inventory, request: Request) -> None:
    """Raises EmptyInputError for an `inventory` without any Service, unless `request` allows it."""
    from ..spec import no_service

    try:
        no_service.require_services(inventory)
    except EmptyInputError as error:
        if not request.allow_empty:
            raise EmptyInputError(f"{error}; --allow-empty, if that is meant") from None

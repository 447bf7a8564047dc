"""Reads and checks an input: all that needs neither the node nor its lock, however long it takes to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..errors import EmptyInputError, InputError
from .progress import Progress, silent
from .request import Request, configuration

if TYPE_CHECKING:
    from ..spec.config import Config
    from ..spec.inventory import Inventory
    from ..spec.objects import Node

__all__ = ["Input", "read_cluster_input", "read_input", "read_services"]


class Input(NamedTuple):
    """Checked objects: each is sound by itself, and no two of them conflict.

    `node`: which of the Nodes this one is, None without any.
    """

    config: Config
    inventory: Inventory
    node: Node | None


def read_input(
    request: Request, progress: Progress = silent, *, on_node: bool = False, config: Config | None = None
) -> Input:
    """The configuration and manifests of `request`, as one of their nodes is to see them.

    :param on_node: this process is on that node: where nothing else names it, it has the host's name
    :param config: the configuration, where that has been read already
    :raises InputError: for whatever is wrong with them; an input without any Service too, unless `request.allow_empty`
    """
    from ..spec.node import pick_node

    config, inventory, _ = read_cluster_input(request, progress, config=config)
    name = request.node.strip().lower() if request.node else config.hostname
    if on_node and not name and not inventory.nodes:
        from ..kernel.facts import hostname

        name = hostname()
    node = pick_node(inventory, name or None)
    return Input(msgspec.structs.replace(config, hostname=name), inventory, node)


def read_cluster_input(
    request: Request, progress: Progress = silent, *, config: Config | None = None
) -> Input:
    """The configuration and manifests of `request`, whichever node looks at them.

    Raises InputError, as `read_input`.
    """
    from ..spec.validate import validate

    if not request.reads:
        raise InputError("nothing to read: give manifests with -f FILE, -f DIRECTORY, -f - or -k DIRECTORY")
    progress("reading specs")
    config = configuration(request) if config is None else config
    inventory = _load(request)
    progress("checking specs")
    validate(inventory)
    _require_services(inventory, request)
    return Input(config, inventory, None)


def read_services(request: Request) -> set[str]:
    """The ``namespace/name`` of each Service in the manifests of `request`.

    Raises InputError where there is none.
    """
    inventory = _load(request)
    _require_services(inventory, request)
    return {service.key for service in inventory.services}


def _load(request: Request) -> Inventory:
    from ..spec.load import load

    return load(**request.sources)


def _require_services(inventory: Inventory, request: Request) -> None:
    from ..spec.no_service import require_services

    try:
        require_services(inventory)
    except EmptyInputError as error:
        if not request.allow_empty:
            raise EmptyInputError(f"{error}; --allow-empty, if that is meant") from None

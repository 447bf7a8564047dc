"""What a command line names as input, read and checked: all that needs neither the node nor its lock, however long it takes to come."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from ..errors import EmptyInputError
from .console import Progress
from .options import Request
from .session import configuration

if TYPE_CHECKING:
    from ..spec.config import Config
    from ..spec.inventory import Inventory
    from ..spec.objects import Node

__all__ = ["Specs", "read_services", "read_specs"]


class Specs(NamedTuple):
    """A checked input: every object in it is sound by itself, and no two of them conflict. `node`: which of its Nodes this one is."""

    config: Config
    inventory: Inventory
    node: Node | None


def read_specs(request: Request, progress: Progress, *, on_node: bool) -> Specs:
    """Read and check the configuration and the manifests of `request`. Raises InputError.

    `on_node`: where neither names this node, its name is the host's.
    """
    from ..spec.node import pick_node
    from ..spec.validate import validate

    if not request.reads:
        raise click.UsageError("nothing to read: give manifests with -f FILE, -f DIRECTORY, -f - or -k DIRECTORY")
    gc.disable()  # a big input is hundreds of thousands of objects that all live to the end
    progress.step("reading specs")
    config = configuration(request)
    inventory = _read(request)
    progress.step("checking specs")
    validate(inventory)
    _require_services(inventory, request)
    name = request.node.strip().lower() if request.node else config.hostname
    if on_node and not name and not inventory.nodes:
        from ..kernel.facts import hostname

        name = hostname()
    node = pick_node(inventory, name or None)
    return Specs(msgspec.structs.replace(config, hostname=name), inventory, node)


def read_services(request: Request) -> set[str]:
    """The ``namespace/name`` of each Service in the manifests of `request`. Raises InputError where there is none."""
    inventory = _read(request)
    _require_services(inventory, request)
    return {service.key for service in inventory.services}


def _read(request: Request) -> Inventory:
    from ..spec.load import load

    return load(**request.sources)


def _require_services(inventory: Inventory, request: Request) -> None:
    from ..spec.no_service import require_services

    try:
        require_services(inventory)
    except EmptyInputError as error:
        if not request.allow_empty:
            raise EmptyInputError(f"{error}; --allow-empty, if that is meant") from None

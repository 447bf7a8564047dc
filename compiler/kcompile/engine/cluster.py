"""A cluster as its objects say it is, whole: what the input lacks is allocated and filled in, as a control
plane would.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..errors import KernelError
from ..files import private_folder
from ..notices import Notice
from ..spec.cluster import ClusterSettings, settings_of
from ..spec.complete import complete
from ..spec.config import Config
from ..spec.endpointless import without_endpoints
from ..spec.inventory import Inventory
from ..spec.noeffect import without_effect
from ..spec.objects import Node
from ..spec.skipped import skipped_notices
from ..spec.state import AllocationState

if TYPE_CHECKING:
    from .read import Input
    from .request import Request

__all__ = ["Cluster", "Memory", "complete_input", "make_own_folder"]


class Memory(msgspec.Struct, kw_only=True):
    """The file with what was allocated.

    `before` is what it says, `after` what it has to say once the cluster is used.
    """

    path: Path
    before: AllocationState
    after: AllocationState
    in_own_folder: bool = True

    def keep(self) -> None:
        """Write it: before a node is changed, so that no address is ever given out twice.

        Raises KernelError where that fails.
        """
        if self.in_own_folder:
            make_own_folder(self.path)
        self.after.save(str(self.path))
        self.before = self.after

    def has_changed(self) -> bool:
        """Whether the file says something else than when it was read."""
        return AllocationState.load(str(self.path)) != self.before


def make_own_folder(path: Path) -> None:
    """The folder of `path`, and the one above it.

    Raises UnsafeError where others can write to one, KernelError where one can't be made.
    """
    try:
        private_folder(path.parent.parent)
        private_folder(path.parent)
    except OSError as error:
        raise KernelError(f"{path.parent}: can't be made: {error.strerror}") from None


class Cluster(msgspec.Struct, kw_only=True):
    """Objects with every address, port and endpoint that they are to have.

    `inventory`: the objects by kind; `node`: which of the Nodes is this one, None without any. `settings`:
    its ranges and domain. `memory`: what was allocated. `notices`: warnings about the input.
    """

    config: Config
    inventory: Inventory
    node: Node | None
    settings: ClusterSettings
    memory: Memory
    notices: tuple[Notice, ...]


def complete_input(given: Input, request: Request, path: Path) -> Cluster:
    """Allocate what `given` lacks, with the memory in the file `path`, and find its endpoints.

    :raises AllocationError: where a range is used up, or an address is wanted twice
    """
    config, inventory = given.config, given.inventory
    settings = settings_of(config, inventory.service_cidrs)
    before = AllocationState.load(str(path))
    after = settings.allocate(inventory.services, before)
    complete(inventory)
    notices = (
        *(Notice("config", text) for text in config.warnings),
        *skipped_notices(inventory.skipped, each=request.verbose),
        *inventory.warnings,
        *without_effect(inventory),
        *without_endpoints(inventory),
    )
    return Cluster(
        config=config,
        inventory=inventory,
        node=given.node,
        settings=settings,
        memory=Memory(path=path, before=before, after=after, in_own_folder=not request.state),
        notices=notices,
    )

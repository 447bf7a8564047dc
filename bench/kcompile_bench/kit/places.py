"""Places by their name in ``--place``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kcompile.errors import InputError

from .cluster import Place
from .hosts import HostsPlace, read_inventory
from .lab_place import lab_place, sweep_labs
from .machines import MACHINES
from .netns_cluster import NetnsPlace, sweep

__all__ = ["check", "place_of", "sweep_places"]

_HERE = ("netns", "lab")
_FILES = (".yaml", ".yml")


def check(name: str) -> None:
    """Raise InputError where no place is called `name`."""
    if name not in (*_HERE, *MACHINES) and not name.endswith(_FILES):
        raise InputError(
            f"--place {name!r} is not one of {', '.join((*_HERE, *MACHINES))} or a file of hosts, FILE.yaml"
        )


@contextmanager
def place_of(name: str) -> Iterator[Place]:
    """The place called `name`, but not one of MACHINES. Raises InputError where its file is wrong."""
    if name.endswith(_FILES):
        inventory = read_inventory(Path(name))
        yield HostsPlace(inventory, f"hosts: {inventory.name}")
    elif name == "lab":
        with lab_place() as place:
            yield place
    else:
        yield NetnsPlace()


def sweep_places() -> None:
    """Remove what killed runs have left on this machine."""
    sweep_labs()
    sweep()

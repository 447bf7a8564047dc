"""The specs of one scale and every product of compiling them, each computed at its first use and cached."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from kcompile.ir.model import Dataplane, ServicePort
from kcompile.modes import mode_of
from kcompile.passes import resolve
from kcompile.program import Key
from kcompile.spec.convert import service_ports
from kcompile.spec.inventory import Inventory
from kcompile.spec.load import load

from .generate import Scale, facts, json_text, settings, without_last_endpoint, yaml_text

__all__ = ["MAX_BYTES", "Workload", "family_of"]

MAX_BYTES = 256 << 20  # a read sets aside as much, which a machine of the tests must have


def family_of(mode: str) -> str:
    """``iptables-legacy`` -> ``iptables``: both variants compile alike."""
    return mode.partition("-")[0]


class Workload:
    """`scale` in every stage. `middle` is the Service that changes where one does."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.middle = scale.services // 2
        self.dataplane = cache(self._dataplane)
        self.program = cache(self._program)

    @contextmanager
    def file(self, form: str = "json") -> Iterator[Path]:
        """The specs in a file that goes with the block."""
        with tempfile.NamedTemporaryFile(prefix="kcbench-", suffix=f".{form}") as file:
            file.write(json_text(self.scale) if form == "json" else yaml_text(self.scale))
            file.flush()
            yield Path(file.name)

    @cached_property
    def inventory(self) -> Inventory:
        with self.file() as path:
            return load([str(path)], max_bytes=MAX_BYTES)

    @cached_property
    def ports(self) -> list[ServicePort]:
        return service_ports(self.inventory)

    @cached_property
    def changed(self) -> ServicePort:
        """The middle port with an endpoint fewer."""
        return without_last_endpoint(self.ports[self.middle])

    @cached_property
    def changed_ports(self) -> list[ServicePort]:
        return [*self.ports[: self.middle], self.changed, *self.ports[self.middle + 1 :]]

    def _dataplane(self, family: str) -> Dataplane:
        return resolve(self.ports, facts(), settings(family))

    def _program(self, family: str) -> dict[Key, Any]:
        return mode_of(family).target().lower(self.dataplane(family))

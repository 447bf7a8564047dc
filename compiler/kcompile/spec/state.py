"""The allocation state, one small JSON file: Services keep their addresses and ports from one run to the
next.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import ConfigError
from ..files import write_whole
from .addresses import unfit
from .names import is_dns_label
from .opening import read_path
from .text import printable

__all__ = ["AllocationState"]

_VERSION = 1
_MAX_BYTES = 256 << 20


class AllocationState(msgspec.Struct, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Keys: ``namespace/service`` for `cluster_ips` and `health_check_node_ports`,
    ``namespace/service/port/protocol`` for `node_ports`.

    `generated_names`: by ``namespace/generateName``, the names that Services without one were given, in the
    input's order.
    """

    version: int = _VERSION
    cluster_ips: dict[str, list[str]] = msgspec.field(default_factory=dict, name="clusterIPs")
    node_ports: dict[str, int] = msgspec.field(default_factory=dict)
    health_check_node_ports: dict[str, int] = msgspec.field(default_factory=dict)
    generated_names: dict[str, list[str]] = msgspec.field(default_factory=dict)

    @classmethod
    def load(cls, path: str) -> AllocationState:
        """Read `path`; a missing file is an empty state, a damaged one a ConfigError: guessing would renumber
        live Services.
        """
        where = printable(path)
        try:
            state = msgspec.json.decode(read_path(path, _MAX_BYTES, only_files=True), type=cls)
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise ConfigError(f"{where}: can't read the allocation state: {error.strerror}") from None
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _damaged(where, " ".join(str(error).split())) from None
        if state.version != _VERSION:
            raise ConfigError(
                f"{where}: the allocation state has version {state.version}, this kcompile writes {_VERSION}"
            )
        addresses = (address for entry in state.cluster_ips.values() for address in entry)
        numbers = (*state.node_ports.values(), *state.health_check_node_ports.values())
        names = (name for entry in state.generated_names.values() for name in entry)
        if not all(map(is_dns_label, names)):
            raise ConfigError(
                f"{where}: the allocation state is damaged (not a name); remove it to allocate anew"
            )
        if any(unfit(address) for address in addresses) or not all(0 < number < 65536 for number in numbers):
            raise _damaged(where, "not an address, or not a port")
        return state

    def save(self, path: str) -> None:
        """Write `path` whole or not at all: a temporary file beside it, synced, renamed over it, the folder
        synced.
        """
        data = msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1) + b"\n"
        try:
            write_whole(Path(path).absolute(), data, sync=True)
        except PermissionError as error:
            raise ConfigError(
                f"{printable(path)}: can't write the allocation state: {error.strerror}"
            ) from None


def _damaged(where: str, why: str) -> ConfigError:
    return ConfigError(f"{where}: the allocation state is damaged ({why}); remove it to allocate anew")

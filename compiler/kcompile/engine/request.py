"""What a caller asks of the engine: the input, the node, the mode, and the settings that are given on top of
a configuration.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import ConfigError
from ..notices import Notice

if TYPE_CHECKING:
    from ..ir.node import Xdp
    from ..spec.config import Config

__all__ = ["Request", "allocations_path", "configuration", "xdp_settings"]

_VALIDATE = {"true": "strict", "false": "ignore"}  # kubectl's other spellings


class Request(msgspec.Struct, kw_only=True):
    """Each field is the option of that name (docs/reference/cli.md), None or empty where it isn't given.

    `objects`: manifests that a caller holds in memory.
    """

    files: tuple[str, ...] = ()
    objects: tuple[Mapping[str, Any], ...] = ()
    mode: str | None = None
    iptables_backend: str | None = None
    netns: str | None = None
    node: str | None = None
    config: str | None = None
    compat: str | None = None
    ipvs_scheduler: str | None = None
    xdp_mode: str | None = None
    socket_lb: str | None = None
    cgroup: str | None = None
    xdp_balance: str | None = None
    xdp_capacity: tuple[str, ...] = ()
    fast_path: str | None = None
    fast_path_devices: tuple[str, ...] = ()
    state: str | None = None
    service_cidrs: str | None = None
    node_port_range: str | None = None
    pod_cidrs: str | None = None
    domain: str | None = None
    max_input_bytes: int = 128 << 20
    allow_empty: bool = False
    validate: str = "warn"
    recursive: bool = False
    kustomizations: tuple[str, ...] = ()
    quiet_warnings: tuple[str, ...] = ()
    verbose: bool = False

    @property
    def reads(self) -> bool:
        """Whether any manifests are named."""
        return bool(self.files or self.kustomizations or self.objects)

    @property
    def where(self) -> dict[str, Any]:
        """The manifests, as the arguments of `spec.load.texts`."""
        return {
            "paths": self.files,
            "recursive": self.recursive,
            "kustomizations": self.kustomizations,
            "max_bytes": self.max_input_bytes,
        }

    @property
    def strictness(self) -> str:
        """What unknown fields are: the `validate` of `spec.load.load_texts`."""
        return _VALIDATE.get(self.validate, self.validate)

    def heard(self, notices: Iterable[Notice]) -> tuple[Notice, ...]:
        """`notices` without those that `quiet_warnings` drops."""
        return tuple([notice for notice in notices if notice.id not in self.quiet_warnings])


def configuration(request: Request) -> Config:
    """The configuration file of `request` with its options on top. Raises ConfigError."""
    from ..spec.cluster import Given, configured

    if request.config == "-" and "-" in request.files:
        raise ConfigError("--config -: standard input holds the manifests already (-f -)")
    given = Given(
        service_cidrs=request.service_cidrs,
        node_port_range=request.node_port_range,
        pod_cidrs=request.pod_cidrs,
        domain=request.domain,
    )
    config = configured(request.config, given)
    changes: dict[str, Any] = {}
    if request.mode:
        changes["mode"] = request.mode
    if request.compat:
        changes["compat"] = request.compat
    if request.fast_path:
        changes["fast_path"] = request.fast_path
    if request.fast_path_devices:
        changes["fast_path_devices"] = request.fast_path_devices
    if request.ipvs_scheduler:
        changes["ipvs"] = msgspec.structs.replace(config.ipvs, scheduler=request.ipvs_scheduler)
    return msgspec.structs.replace(config, **changes)


def xdp_settings(request: Request) -> Xdp:
    """The settings of mode xdp. Raises ConfigError."""
    from ..ir.node import Xdp

    cgroup = request.cgroup or os.environ.get("KCOMPILE_CGROUP")
    return Xdp(
        attach=request.xdp_mode or "auto",
        sockets=request.socket_lb or "tcp",
        cgroup=str(Path(cgroup).absolute()) if cgroup else "",
        balance=request.xdp_balance or "maglev",
        capacities=tuple([_capacity(text) for text in request.xdp_capacity]),
    )


def _capacity(text: str) -> tuple[str, int]:
    from ..targets.xdp.layout import MAPS

    name, _, number = text.partition("=")
    is_number = number.isascii() and number.isdecimal()
    if name not in MAPS or not is_number or not 0 < int(number) < 1 << 31:
        raise ConfigError(f"--xdp-capacity: {text!r} is not MAP=ENTRIES with one of {', '.join(MAPS)}")
    return name, int(number)


def allocations_path(request: Request) -> Path:
    """The file with what was allocated for the node of `request`: one for a namespace, however a command
    comes into it.
    """
    from ..kernel.places import allocation_folder

    return Path(request.state) if request.state else allocation_folder(request.netns) / "allocations.json"

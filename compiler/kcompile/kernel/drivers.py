"""A driver for each mode, with the same methods. A driver acts on the current namespace.

families()   the IP versions that it can program here
observe()    our resources in the kernel, as a Program
check()      try changes without making them; raises KernelError where the kernel refuses them
keep()       before apply(): write down what a later command needs to find these changes
apply()      make changes; returns warnings
listing()    our rules as the mode's own tool prints them
forget()     let go of the Program that observe() has read
generation() a number of the kernel's that every change of such rules raises; None where it has none
transactions how often apply() has raised it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from ..errors import UnsupportedError
from ..notices import Notice
from ..program import Change, Key, Program, apply_changes
from ..targets.base import Target
from ..targets.xtables.keys import ChainKey, JumpKey

if TYPE_CHECKING:
    from .bpf.flows import Connection

__all__ = [
    "MODES",
    "Driver",
    "IptablesDriver",
    "IpvsDriver",
    "NftablesDriver",
    "XdpDriver",
    "driver_for",
    "Installed",
    "installed",
    "stray_rules",
    "tidy",
]

# What --mode takes; the iptables variants name their back end.
MODES = ("iptables", "iptables-legacy", "iptables-nft", "ipvs", "nftables", "xdp")

_VARIANTS: tuple[Literal["legacy", "nft"], ...] = ("legacy", "nft")


class Driver(Protocol):
    """A mode on a node."""

    name: str
    target: Target
    transactions: int

    def families(self) -> tuple[int, ...]: ...

    def observe(self) -> dict[Key, Any]: ...

    def forget(self) -> None: ...

    def check(self, changes: Sequence[Change]) -> None: ...

    def keep(self, changes: Sequence[Change]) -> None: ...

    def apply(self, changes: Sequence[Change]) -> list[Notice]: ...

    def listing(self) -> str: ...

    def generation(self) -> int | None: ...


class _Reader:
    """Keeps the Program that it has read last, for a listing."""

    _held: dict[Key, Any] | None = None
    transactions = 0

    def observe(self) -> dict[Key, Any]:
        self._held = self._read()
        return self._held

    def _read(self) -> dict[Key, Any]:
        raise NotImplementedError

    def forget(self) -> None:
        self._held = None

    def generation(self) -> int | None:
        """None: nothing tells that nobody has changed these rules but reading them."""
        return None

    @property
    def held(self) -> dict[Key, Any]:
        """The Program that `observe` returned last; reads it first where there is none."""
        return self.observe() if self._held is None else self._held


class _StatelessReader(_Reader):
    """For modes whose Program is read from the kernel alone."""

    def keep(self, changes: Sequence[Change]) -> None:
        """Nothing to keep."""


class NftablesDriver(_StatelessReader):
    """Mode nftables: libnftables in process, one transaction."""

    name = "nftables"

    def __init__(self) -> None:
        from ..targets.nftables import NftablesTarget

        self.target: Target = NftablesTarget()

    def families(self) -> tuple[int, ...]:
        return (4, 6) if Path("/proc/sys/net/ipv6").exists() else (4,)

    def generation(self) -> int | None:
        from .generation import generation

        return generation()

    def _read(self) -> dict[Key, Any]:
        from .nftables import Nft

        with Nft() as nft:
            return nft.observe()

    def check(self, changes: Sequence[Change]) -> None:
        from .nftables import Nft

        with Nft() as nft:
            nft.check("".join(self.target.scripts(changes).values()))

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        from .nftables import Nft

        script = "".join(self.target.scripts(changes).values())
        with Nft() as nft:
            nft.apply(script)
        self.transactions += bool(script)
        return []

    def listing(self) -> str:
        from .nftables import Nft

        with Nft() as nft:
            return nft.listing()


class IptablesDriver(_StatelessReader):
    """Mode iptables with back end ``legacy`` or ``nft``: one iptables-restore a family."""

    def __init__(self, backend: Literal["legacy", "nft"]) -> None:
        from ..targets.iptables import IptablesTarget

        self.target: Target = IptablesTarget()
        self.backend = backend
        self.name = f"iptables-{backend}"

    def families(self) -> tuple[int, ...]:
        from . import iptables

        return tuple(int(family.removeprefix("ip")) for family in iptables.families(self.backend))

    def _read(self) -> dict[Key, Any]:
        from . import iptables

        return iptables.observe(self.backend)

    def generation(self) -> int | None:
        """nf_tables' own counts for the nft variant too."""
        from .generation import generation

        return generation() if self.backend == "nft" else None

    def check(self, changes: Sequence[Change]) -> None:
        from . import iptables

        iptables.check(self.target.scripts(changes), self.backend)

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        from . import iptables

        scripts = self.target.scripts(changes)
        iptables.apply(scripts, self.backend)
        # each COMMIT is a transaction of its own
        self.transactions += sum(script.count("\nCOMMIT\n") for script in scripts.values())
        return []

    def listing(self) -> str:
        """Our chains as iptables-save prints them, family by family."""
        lines: list[str] = []
        for key, value in self.held.items():
            if isinstance(key, JumpKey):
                lines.append(f"{key.command} -A {key.hook} {key.rule}")
            elif isinstance(key, ChainKey):
                lines += [f"{key.command} -A {key.name} {rule}" for rule in value]
        return "".join(f"{line}\n" for line in lines)


class IpvsDriver(_StatelessReader):
    """Mode ipvs, with its few iptables rules in back end ``legacy`` or ``nft``.

    `directory`: the node's run directory.
    """

    def __init__(self, backend: Literal["legacy", "nft"], directory: Path | None = None) -> None:
        from ..targets.ipvs import IpvsTarget
        from .ipvs import IpvsKernel

        self.name = "ipvs"
        self.target: Target = IpvsTarget()
        self.backend, self.directory = backend, directory
        self.kernel = IpvsKernel(backend, directory)

    def families(self) -> tuple[int, ...]:
        from . import iptables, ipvs

        ipvs.load()
        return tuple(int(family.removeprefix("ip")) for family in iptables.families(self.backend))

    def _read(self) -> dict[Key, Any]:
        return self.kernel.observe()

    def check(self, changes: Sequence[Change]) -> None:
        """Make the whole new Program in a temporary namespace: rules can't be tested without their sets."""
        from .ipvs import check

        check(self.backend, self.target.diff({}, apply_changes(self.observe(), tuple(changes))))

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        from ..targets.ipvs.resources import AddressKey
        from .ipvs import sources

        self.kernel.apply(changes)
        if any(isinstance(change.key, AddressKey) and change.new is None for change in changes):
            sources.remove_routes()
        return []

    def listing(self) -> str:
        """Our resources as commands of ipset, ipvsadm, ip and iptables."""
        return "".join(f"{self.target.describe(key, value)}\n" for key, value in self.held.items())


class XdpDriver(_Reader):
    """Mode xdp: eBPF maps and programs.

    `directory`: the node's run directory. `capacities`: sizes of maps that have to be made.
    """

    name = "xdp"

    def __init__(self, directory: Path, capacities: Mapping[str, int] | None = None) -> None:
        from ..targets.xdp import XdpTarget
        from .bpf.node import XdpKernel

        self.target: Target = XdpTarget()
        self.kernel = XdpKernel(directory, capacities)

    def families(self) -> tuple[int, ...]:
        self.kernel.require()
        return (4, 6) if Path("/proc/sys/net/ipv6").exists() else (4,)

    def _read(self) -> dict[Key, Any]:
        return self.kernel.observe()

    def check(self, changes: Sequence[Change]) -> None:
        self.kernel.check(apply_changes(self.observe(), tuple(changes)))

    def keep(self, changes: Sequence[Change]) -> None:
        self.kernel.keep(changes)

    def apply(self, changes: Sequence[Change]) -> list[Notice]:
        return self.kernel.apply(changes)

    def listing(self) -> str:
        """Every resource, the counters of each backend, and of packets that were dropped or not handled."""
        lines = [self.target.describe(key, value) for key, value in self.held.items()]
        return "".join(f"{line}\n" for line in (*lines, *self.kernel.counters()))

    def connections(self) -> list[Connection]:
        """Every translated connection, the one with the latest packet first."""
        assert self.held is not None
        return self.kernel.connections()


class _StrayRules(IpvsDriver):
    """The rules of mode ipvs in the iptables variant that it no longer uses."""

    def __init__(self, backend: Literal["legacy", "nft"]) -> None:
        super().__init__(backend)
        self.name = f"ipvs on iptables-{backend}"

    def _read(self) -> dict[Key, Any]:
        from ..targets.xtables.parse import IPVS
        from . import iptables

        return iptables.observe(self.backend, ("mangle", "nat", "filter"), IPVS)


class Installed(NamedTuple):
    """A mode that is installed in this namespace: its driver, and the Program that it was read as."""

    driver: Driver
    held: Program


def stray_rules(driver: Driver) -> list[Installed]:
    """For mode ipvs: what it left in the iptables variant that it no longer uses; else []."""
    if not isinstance(driver, IpvsDriver):
        return []
    return _holding([_StrayRules(backend) for backend in _VARIANTS if backend != driver.backend])


def tidy(driver: Driver, held: Program) -> None:
    """After `driver` has removed `held`: remove the empty chains and tables that iptables-nft leaves."""
    if isinstance(driver, IptablesDriver | IpvsDriver) and driver.backend == "nft":
        from . import iptables_nft

        iptables_nft.tidy(held)


def driver_for(
    mode: str,
    backend: str | None = None,
    directory: Path | None = None,
    capacities: Mapping[str, int] | None = None,
) -> Driver:
    """The driver of `mode` (one of MODES).

    `backend`: the iptables variant, by default the one that the node uses. `directory`: the node's run
    directory. `capacities`: see XdpDriver. Raises UnsupportedError where iptables is missing.
    """
    if mode == "nftables":
        return NftablesDriver()
    if mode == "xdp":
        if directory is None:
            raise ValueError("mode xdp needs the node's run directory")
        return XdpDriver(directory, capacities)
    from ..targets.xtables.parse import IPVS
    from . import iptables

    if mode == "ipvs":
        return IpvsDriver(iptables.detect_backend(backend, IPVS), directory)
    wanted = backend or mode.partition("-")[2] or None
    return IptablesDriver(iptables.detect_backend(wanted))


def installed(except_for: str = "", directory: Path | None = None) -> list[Installed]:
    """Every installed mode in this namespace except the driver named `except_for`, each read once.

    Reading changes nothing: it creates no legacy table (kernel/iptables.py) and doesn't load IPVS.
    """
    from .ipvs import dummy

    drivers: list[Driver] = [NftablesDriver()] if except_for != "nftables" else []
    drivers += [IptablesDriver(b) for b in _VARIANTS if except_for != f"iptables-{b}"]
    if except_for != "xdp" and directory is not None:
        drivers.append(XdpDriver(directory))
    if except_for != "ipvs" and dummy.index():
        drivers.append(driver_for("ipvs", None, directory))
    return _holding(drivers)


def _holding(drivers: Sequence[Driver]) -> list[Installed]:
    found = []
    for driver in drivers:
        try:
            held = driver.observe()
        except UnsupportedError:  # then the mode can't be installed here
            continue
        if held:
            found.append(Installed(driver, held))
    return found

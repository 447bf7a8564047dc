"""KubeProxy: everything that kube-proxy has left in the current network namespace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ...errors import KernelError
from .. import iptables
from . import tables
from .chains import Chains
from .frontends import Frontend, missing
from .servers import DEVICE, Servers

__all__ = ["KubeProxy", "Removed"]

_BACKENDS: tuple[iptables.Backend, ...] = ("legacy", "nft")
_NAMED = 3


class Removed(NamedTuple):
    """What `KubeProxy.remove` did, and what it left, each as lines for people.

    `connections`: open ones through IPVS, for which everything but idle servers stays until they end.
    """

    gone: tuple[str, ...]
    left: tuple[str, ...]
    connections: int = 0

    @property
    def finished(self) -> bool:
        """Whether nothing is left that another call can remove."""
        return not self.connections


class KubeProxy:
    """kube-proxy's rules of every mode. `unread`: what couldn't be looked at, and why."""

    def __init__(
        self,
        chains: Iterable[Chains] = (),
        families: Iterable[str] = (),
        servers: Servers | None = None,
        unread: Iterable[str] = (),
    ) -> None:
        self.chains, self.families = tuple(chains), tuple(families)
        self.servers, self.unread = servers, tuple(unread)

    @classmethod
    def found(cls) -> KubeProxy:
        """Read the current network namespace. Changes nothing."""
        chains: list[Chains] = []
        unread: list[str] = []
        for backend in _BACKENDS:
            try:
                texts = iptables.saved(backend)
            except KernelError as error:
                unread.append(str(error))
                continue
            chains += [Chains(backend, int(family[2:]), text) for family, text in texts.items()]
        families: tuple[str, ...] = ()
        try:
            families = tables.families()
        except KernelError as error:
            unread.append(str(error))
        servers = Servers() if Servers.there() else None
        return cls((each for each in chains if each.found), families, servers, unread)

    def __bool__(self) -> bool:
        return bool(self.chains or self.families or self.servers is not None)

    @property
    def modes(self) -> list[str]:
        """Its modes: ``iptables-legacy``, ``iptables-nft``, ``nftables``, ``ipvs``."""
        if self.servers is not None:
            return ["ipvs", *(["nftables"] if self.families else [])]
        found = dict.fromkeys(f"iptables-{each.backend}" for each in self.chains)
        return [*found, *(["nftables"] if self.families else [])]

    def lines(self) -> list[str]:
        """What is there, for people."""
        found = [
            f"{len(each.names)} chains of iptables-{each.backend} (IPv{each.family})" for each in self.chains
        ]
        found += [f"nft table {family} {tables.NAME}" for family in self.families]
        if self.servers is not None:
            found.append(f"{len(self.servers)} virtual servers of IPVS, with device {DEVICE}")
        return found

    def frontends(self) -> set[Frontend]:
        """The addresses and ports that they answer. Raises KernelError."""
        return set(self._frontends())

    def _frontends(self) -> Iterator[Frontend]:
        for each in self.chains:
            yield from each.frontends()
        for family in self.families:
            yield from tables.frontends(family)
        if self.servers is not None:
            yield from self.servers.frontends()

    def unanswered(self, ours: set[Frontend]) -> str:
        """The frontends that `ours` don't have, in words; empty where they have all."""
        lacking = missing(self.frontends(), ours)
        named = ", ".join(map(str, lacking[:_NAMED]))
        more = f" and {len(lacking) - _NAMED:,} more" if len(lacking) > _NAMED else ""
        return f"{named}{more}" if lacking else ""

    def reroute_new_connections(self) -> None:
        """Call it before our rules go in: with IPVS, the node's own new connections then come from an
        address that stays.
        """
        if self.servers is not None:
            self.servers.reroute_new_connections()

    def remove(self) -> Removed:
        """Remove all of it, where our rules answer already. Connections that are open go on.

        :raises KernelError: where the kernel refuses something; what went before is gone then
        """
        connections = self.servers.drain() if self.servers is not None else 0
        if connections:
            return Removed((), (), connections)
        gone, left_here = [], []
        for each in self.chains:
            if script := each.removal():
                iptables.apply({f"ip{each.family}": script}, _backend(each))
                count = len(each.names - each.kept())
                gone.append(f"{count} chains of iptables-{each.backend} (IPv{each.family})")
            if kept := sorted(each.kept()):
                left_here.append(_kept(each, kept))
        if self.families:
            tables.remove(self.families)
            gone += [f"nft table {family} {tables.NAME}" for family in self.families]
        if self.servers is not None:
            self.servers.remove_rest()
            gone.append(f"IPVS's virtual servers, and device {DEVICE}")
        return Removed(tuple(gone), tuple(left_here))


def _backend(chains: Chains) -> iptables.Backend:
    return "nft" if chains.backend == "nft" else "legacy"


def _kept(chains: Chains, names: list[str]) -> str:
    tool = f"{'ip6tables' if chains.family == 6 else 'iptables'}-{chains.backend}"
    if "KUBE-FORWARD" in names:
        rest = f"{tool} -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT, then start again with --take-over"
        return f"{tool} keeps KUBE-FORWARD, for policy DROP of FORWARD would drop packets to pods ({rest})"
    return f"{tool} keeps {', '.join(names)}, for chains of others lead there"

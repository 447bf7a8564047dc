"""One change of a node: inside its network namespace, under its lock, with what it holds now.

Plan, then commit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec

from ..errors import InputError, KcompileError, LockedError
from ..ir.model import Dataplane, Family, Protocol, ResolvedPort
from ..kernel import netns
from ..kernel.confirmed import Confirmed
from ..kernel.departure import plan_removal
from ..kernel.drivers import Driver, Installed, installed, stray_rules
from ..kernel.itemized import itemized
from ..kernel.lock import holder, locked
from ..kernel.node import NodeResources
from ..kernel.places import run_directory
from ..kernel.remember import Applied, given_before
from ..modes import Mode
from ..notices import Notice
from ..plans import Plan, Removal, ServiceChange, make_plan, service_changes, service_names
from ..program import Program
from ..targets.base import FrontendView
from ..targets.node import lower_node
from .commit import Commit
from .evidence import Evidence
from .progress import Progress, silent
from .read import Known
from .request import Request, xdp_settings

__all__ = ["Session", "at_node", "last_input"]

_WAIT = 30.0  # seconds for another command to end
_HANDOVER = 2.0  # seconds for another agent, which takes one at most


@contextmanager
def at_node(request: Request, *, only_reads: bool = False, command: str = "") -> Iterator[Path]:
    """Enter the network namespace of `request` and hold its lock; yields the run directory.

    :param only_reads: the lock isn't needed while an agent has it
    :param command: the lock is held for long, by this command
    :raises LockedError: where another kcompile holds it for half a minute, or an agent does
    """
    with netns.entered(request.netns):
        directory = run_directory()
        try:
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(locked(directory, _HANDOVER if command else _WAIT, command))
                except LockedError:
                    if not only_reads or holder(directory) is None:
                        raise
                yield directory
        except PermissionError as error:
            raise InputError(
                f"{error.filename}: {error.strerror} (root is needed, or set KCOMPILE_RUN_DIR)"
            ) from None


def last_input(request: Request) -> Known:
    """What is known of the input of the last apply on the node of `request`.

    A look without the lock: ask again under it.
    """
    try:
        with netns.entered(request.netns):
            directory = run_directory()
            return Known(given_before(directory), itemized(directory))
    except (KcompileError, OSError):  # whatever it is, the command says it when it comes to it
        return Known()


class Session:
    """`driver` is of the mode that the node is to run, `others` of those that it leaves; what is wanted is
    set by `plan`.
    """

    def __init__(
        self, request: Request, driver: Driver, others: Sequence[Installed], resources: NodeResources
    ) -> None:
        self.request, self.driver, self.others, self.resources = request, driver, list(others), resources
        self.node_desired: Program = {}
        self._desired: Program | None = None  # None: what there is
        self._lowered: Dataplane | None = None
        self._evidence: Evidence | None = None

    @classmethod
    def open(cls, request: Request, mode: Mode, directory: Path, *, answers: bool = True) -> Session:
        """A session for `mode`, with the other modes that have something on the node that can go.

        :param answers: whether health checks are a process's task (NodeResources); never beside an agent
        """
        capacities = dict(xdp_settings(request).capacities) if mode.sees_interfaces else None
        driver = mode.driver(directory, request.iptables_backend, capacities)
        others = [other for other in installed(driver.name, directory) if plan_removal(*other)]
        if request.iptables_backend:  # else it is the variant that has such rules
            others = stray_rules(driver) + others
        return cls(
            request, driver, others, NodeResources(directory, answers=answers and holder(directory) is None)
        )

    def plan(
        self,
        dataplane: Dataplane,
        warnings: tuple[Notice, ...] = (),
        progress: Progress = silent,
        *,
        keep_connections: bool = True,
        applied: Applied | None = None,
        held: Program | None = None,
        lower: Callable[[Dataplane], Program] | None = None,
    ) -> Plan:
        """What makes this node run `dataplane`.

        :param keep_connections: what open connections need stays when the last Service of their IP version
            goes
        :param applied: what was applied last; where the kernel confirms that it is in force, nothing is read
        :param held: what the kernel is known to hold; nothing is read then
        :param lower: in the place of the target's
        """
        progress("reading the kernel")
        versions = {port.family.value for port in dataplane.ports}
        directory = self.resources.directory
        self._evidence = evidence = Evidence(self.driver, directory, applied, versions, held)
        dataplane, unsupported = self._supported(dataplane)
        warnings += self.request.heard(unsupported)
        if keep_connections:
            dataplane = msgspec.structs.replace(dataplane, standing=self._standing())
        progress("lowering")
        self._lowered = dataplane
        known = evidence.dataplane
        same = known is not None and self._effective(dataplane) == self._effective(known)
        self._desired = None if same else (lower or self.driver.target.lower)(dataplane)
        self.node_desired = self._node_resources(dataplane)
        goal = self.resources.goal(self.node_desired)
        progress("comparing")
        return make_plan(
            self.driver.target,
            self.driver.name,
            {} if self._desired is None else evidence.program,
            {} if self._desired is None else self._desired,
            self.resources.observe(goal),
            goal,
            tuple(other.driver.name for other in self.others),
            warnings,
        )

    @property
    def lowered(self) -> Dataplane:
        """What the rules are to be made of. After `plan`."""
        assert self._lowered is not None
        return self._lowered

    @property
    def observed(self) -> Program:
        """The rules that the kernel had when `plan` was made."""
        return self._known.program

    @property
    def had_udp(self) -> bool:
        """Whether these rules may have had frontends of UDP."""
        known = self._known.dataplane
        return known is None or any(port.protocol is Protocol.UDP for port in known.ports)

    @property
    def _known(self) -> Evidence:
        assert self._evidence is not None, "plan comes first"
        return self._evidence

    def is_confirmed(self, digest: bytes) -> bool:
        """Whether the evidence for the remembered dataplane with `digest` is written down already, and says
        all there is to say.
        """
        return self._known.says(digest, self._lowered)

    def confirmation(self, digest: bytes) -> Confirmed | None:
        """To call under the lock when the plan has been carried out: the evidence for the next apply.

        :param digest: that of the remembered dataplane
        """
        if self._lowered is None:
            return None
        return self._known.renewed(digest, self._lowered, self._desired)

    def was_alone(self) -> bool | None:
        """Whether nobody else has written rules since `plan`; ask when the plan has been carried out.

        None where the kernel has no number that tells.
        """
        return self._known.undisturbed()

    def commit(
        self,
        plan: Plan,
        dataplane: Dataplane,
        progress: Progress = silent,
        *,
        keep_connections: bool = True,
        then: Callable[[], None] | None = None,
        forks: bool = True,
    ) -> tuple[Notice, ...]:
        """Make `plan` true and return warnings.

        From here on a kill of this process changes nothing (kernel/commit.py), unless it is to do the work
        itself.

        :param keep_connections: what open connections through another mode's IPVS need stays until they
            have ended
        :param then: called when all of it has succeeded
        :param forks: a process of its own does the work. Not where other threads run: they may hold locks
            that the fork copies
        :raises KernelError: where the kernel refuses something; what was is put back, or the next apply
            repairs it
        """
        work = Commit(self, plan, dataplane, keep_connections=keep_connections, then=then)
        return self.request.heard(work.run(progress) if forks else work.work())

    @cached_property
    def held(self) -> list[FrontendView]:
        """The frontends that the kernel had in this mode when it was read. After `plan`."""
        return self.driver.target.frontends(self.observed)

    def service_changes(self) -> list[ServiceChange]:
        """What `plan` came to, in terms of Services."""
        target, held = self.driver.target, self._known.dataplane
        if held is not None and self._lowered is not None:
            parts = differing(held, self._lowered)
            if parts is not None:
                old, new = (target.frontends(target.lower(part)) for part in parts)
                return service_changes(old, new)
        if self._desired is None:
            return []
        return service_changes(self.held, target.frontends(self._desired))

    def removal(self, plan: Plan, dataplane: Dataplane) -> Removal:
        """The Services that the node has, in any mode's rules, and that `plan`, which is for `dataplane`,
        takes away.
        """
        if not plan.other_modes and all(change.old is None for change in plan.rules):
            return Removal(0, 0)  # nothing goes, and counting what there is takes time
        held = self._service_names()
        for driver, program in self.others:
            held |= service_names(driver.target.frontends(program))
        wanted = {port.name.partition(":")[0] for port in dataplane.ports}
        return Removal(len(held - wanted), len(held))

    def _service_names(self) -> set[str]:
        """Those of the Services that the kernel had in this mode when it was read."""
        known = self._known.dataplane
        if known is not None:
            return {port.name.partition(":")[0] for port in known.ports}
        return service_names(self.held)

    def _standing(self) -> tuple[int, ...]:
        """The IP versions in which connections may be open, through this mode or one that it replaces."""
        standing = set(self._known.standing)
        replaced: set[int] = set()
        for driver, program in self.others:
            if driver.target.uses_conntrack:
                replaced.update(driver.target.standing(program))
        if replaced - standing:
            standing |= replaced.intersection(self._known.families)
        return tuple(sorted(standing))

    def _effective(self, dataplane: Dataplane) -> Dataplane:
        """`dataplane` with those of its `standing` IP versions that make a difference to the rules: where a
        Service forwards, translation goes on anyway.
        """
        forwarding = {version for version in dataplane.standing if _forwards(dataplane, version)}
        if forwarding and self.driver.target.stands_as_one:
            return msgspec.structs.replace(dataplane, standing=())
        standing = tuple([version for version in dataplane.standing if version not in forwarding])
        return msgspec.structs.replace(dataplane, standing=standing)

    def _node_resources(self, dataplane: Dataplane) -> Program:
        """The node resources of `dataplane`.

        What open connections need beside it stays if an apply has set it.
        """
        desired = lower_node(msgspec.structs.replace(dataplane, standing=()), self.driver.name)
        for key, value in lower_node(dataplane, self.driver.name).items():
            if self.resources.has_set(key):
                desired.setdefault(key, value)
        return desired

    def _supported(self, dataplane: Dataplane) -> tuple[Dataplane, tuple[Notice, ...]]:
        """`dataplane` less the families that this node's kernel lacks (kube-proxy then runs single-stack),
        and a warning each.
        """
        versions = {p.family.value for p in dataplane.ports}
        lacking = versions.difference(self._known.families) if versions else versions
        if not lacking:
            return dataplane, ()
        ports = tuple([p for p in dataplane.ports if p.family.value not in lacking])
        text = "{0} has no IPv{1} on this node: the IPv{1} side of every Service is left out"
        notices = [
            Notice("family-missing", text.format(self.driver.name, version)) for version in sorted(lacking)
        ]
        return msgspec.structs.replace(dataplane, ports=ports), tuple(notices)


def differing(old: Dataplane, new: Dataplane) -> tuple[Dataplane, Dataplane] | None:
    """Both without the ports that they have in common; None where they differ in more than ports."""
    if (old.node, old.settings) != (new.node, new.settings):
        return None
    kept = {id(port) for port in old.ports} & {id(port) for port in new.ports}
    before, after = ({_place(p): p for p in each.ports if id(p) not in kept} for each in (old, new))
    gone = tuple([port for place, port in before.items() if after.get(place) != port])
    come = tuple([port for place, port in after.items() if before.get(place) != port])
    return msgspec.structs.replace(old, ports=gone), msgspec.structs.replace(new, ports=come)


def _place(port: ResolvedPort) -> tuple[str, Protocol, Family]:
    return port.name, port.protocol, port.family


def _forwards(dataplane: Dataplane, version: int) -> bool:
    ports = (port for port in dataplane.ports if port.family.value == version)
    return any(frontend.policy.forwards for port in ports for frontend in port.frontends)

"""From a command line to a Dataplane, and from there to a plan on this node: the one path that every verb shares."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..errors import ConfigError, InputError, KcompileError, KernelError
from ..ir.model import Dataplane
from ..ir.node import Xdp
from ..notices import Notice
from ..program import Program
from ..targets.base import FrontendView, Target
from .console import Progress
from .options import Request

if TYPE_CHECKING:
    from ..kernel.drivers import Driver
    from ..kernel.node import NodeResources
    from ..kernel.remember import Applied
    from ..plan import Plan, Removal, ServiceChange
    from ..spec.config import Config
    from ..spec.state import AllocationState
    from .specs import Specs

__all__ = ["CHANGED", "Compiled", "Prepared", "Session", "allocations_path", "compile_specs", "configuration", "target_of"]

_LINGERS = "mode ipvs still carries {} open connections: an apply after they have ended, or in {:.0f} minutes, removes the rest of it"


CHANGED = "this node has changed while the question waited, and was left alone: run the command again"


class Compiled(msgspec.Struct, kw_only=True):
    """What the specs came to: the dataplane, the mode it is for, warnings, and allocations that aren't on disk yet."""

    dataplane: Dataplane
    mode: str
    warnings: tuple[Notice, ...]
    allocated_before: Any
    allocations: Any
    allocations_path: Path
    allocations_in_own_folder: bool = True

    def keep_allocations(self) -> None:
        """Write the allocations down: before the node is changed, so that no address is ever given out twice."""
        from ..files import private_folder

        state: AllocationState = self.allocations
        if self.allocations_in_own_folder:
            try:
                private_folder(self.allocations_path.parent.parent)
                private_folder(self.allocations_path.parent)
            except OSError as e:
                raise KernelError(f"{self.allocations_path.parent}: can't be made: {e.strerror}") from None
        state.save(str(self.allocations_path))


def compile_specs(specs: Specs, request: Request, progress: Progress, *, on_node: bool, default_mode: str | None = None) -> Compiled:
    """Complete and resolve `specs`. What they lack is allocated: hold the lock if the allocations are to be kept.

    `on_node`: take the node's addresses from the current network namespace too, else from the Node object alone.
    """
    from ..passes import resolve, without_occupied
    from ..spec.cluster import cluster_of
    from ..spec.complete import complete
    from ..spec.convert import service_ports
    from ..spec.endpointless import without_endpoints
    from ..spec.hosts import known_hosts
    from ..spec.node import node_facts
    from ..spec.noeffect import without_effect
    from ..spec.settings import settings
    from ..spec.skipped import skipped_notices
    from ..spec.state import AllocationState

    progress.step("compiling")
    config, inventory, node = specs.config, specs.inventory, specs.node
    mode = config.mode or default_mode or "nftables"
    run_settings = settings(config, node, inventory.service_cidrs, mode=mode.partition("-")[0])
    path = allocations_path(request)
    before = AllocationState.load(str(path))
    allocations = cluster_of(config, inventory.service_cidrs).allocate(inventory.services, before)
    complete(inventory)
    skipped = skipped_notices(inventory.skipped, each=request.verbose)
    notices = [*skipped, *inventory.warnings, *without_effect(inventory), *without_endpoints(inventory)]
    addresses: tuple[str, ...] = ()
    if on_node:
        from ..kernel.facts import interface_addresses

        addresses = interface_addresses()
    facts = node_facts(node, config, run_settings.compat, addresses)
    if mode == "xdp":
        run_settings = msgspec.structs.replace(run_settings, xdp=_xdp(request))
        if on_node:
            from ..kernel.bpf.node import cgroup_root
            from ..kernel.facts import links

            if run_settings.xdp.sockets != "off" and not run_settings.xdp.cgroup:
                cgroup_root()  # raises where there is none
            if (cgroup := run_settings.xdp.cgroup) and not (Path(cgroup) / "cgroup.procs").exists():
                raise ConfigError(f"--cgroup: {cgroup} is not a directory of a cgroup2")
            facts = msgspec.structs.replace(facts, links=links())
    ports = service_ports(inventory)
    limited: list[Notice] = []
    if mode == "ipvs":
        ports, limited = without_occupied(ports, known_hosts(inventory), {*facts.addresses, *facts.interfaces})
    dataplane = resolve(ports, facts, run_settings)
    if mode == "ipvs":
        from ..targets.ipvs import limits as ipvs_limits

        limited += ipvs_limits(dataplane)
    if mode == "xdp":
        from ..targets.xdp import limits

        limited = limits(dataplane)
    unused = [Notice("config", text) for text in config.warnings]
    return Compiled(
        dataplane=dataplane,
        mode=mode,
        warnings=request.heard((*unused, *notices, *dataplane.notices, *limited)),
        allocated_before=before,
        allocations=allocations,
        allocations_path=path,
        allocations_in_own_folder=not request.state,
    )


def configuration(request: Request) -> Config:
    """The configuration of `request`: its file, with what the command line says on top. Raises ConfigError."""
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
    if request.ipvs_scheduler:
        changes["ipvs"] = msgspec.structs.replace(config.ipvs, scheduler=request.ipvs_scheduler)
    return msgspec.structs.replace(config, **changes)


def _xdp(request: Request) -> Xdp:
    """What the command line says of mode xdp."""
    from ..targets.xdp.layout import MAPS

    capacities: list[tuple[str, int]] = []
    for text in request.xdp_capacity:
        name, _, number = text.partition("=")
        if name not in MAPS or not number.isascii() or not number.isdecimal() or not 0 < int(number) < 1 << 31:
            raise ConfigError(f"--xdp-capacity: {text!r} is not MAP=ENTRIES with one of {', '.join(MAPS)}")
        capacities.append((name, int(number)))
    cgroup = request.cgroup or os.environ.get("KCOMPILE_CGROUP")
    return Xdp(
        attach=request.xdp_mode or "auto",
        sockets=request.socket_lb or "tcp",
        cgroup=str(Path(cgroup).absolute()) if cgroup else "",
        balance=request.xdp_balance or "maglev",
        capacities=tuple(capacities),
    )


def allocations_path(request: Request) -> Path:
    """The file that keeps what was allocated for the node of `request`: one for a namespace, however a command comes into it."""
    from ..kernel.places import allocation_folder

    return Path(request.state) if request.state else allocation_folder(request.netns) / "allocations.json"


def target_of(mode: str) -> Target:
    """The target that lowers for `mode`; both iptables variants take the same text."""
    if mode == "nftables":
        from ..targets.nftables import NftablesTarget

        return NftablesTarget()
    if mode.startswith("iptables"):
        from ..targets.iptables import IptablesTarget

        return IptablesTarget()
    if mode == "ipvs":
        from ..targets.ipvs import IpvsTarget

        return IpvsTarget()
    if mode == "xdp":
        from ..targets.xdp import XdpTarget

        return XdpTarget()
    raise ConfigError(f"mode {mode!r} is not one of nftables, iptables, iptables-legacy, iptables-nft, ipvs, xdp")


class Session:
    """One command's dealings with the node: inside its network namespace, under its lock, with what it holds now."""

    def __init__(self, request: Request, driver: Driver, others: list[Driver], resources: NodeResources) -> None:
        self.request, self.driver, self.others, self.resources = request, driver, others, resources
        self.observed: Program = {}
        self.desired: Program = {}
        self.node_desired: Program = {}

    @classmethod
    @contextmanager
    def at(cls, request: Request) -> Iterator[Path]:
        """Enter the namespace of `request` and hold its lock; yields the run directory."""
        from ..kernel import netns
        from ..kernel.lock import locked
        from ..kernel.places import run_directory

        with netns.entered(request.netns):
            directory = run_directory()
            try:
                with locked(directory):
                    yield directory
            except PermissionError as e:
                raise InputError(f"{e.filename}: {e.strerror} (root is needed, or set KCOMPILE_RUN_DIR)") from None

    @classmethod
    def open(cls, request: Request, mode: str, directory: Path) -> Session:
        """A session for `mode`, with the drivers of other modes that have something on the node that can go."""
        from ..kernel.drivers import driver_for, installed_drivers, stray_rules
        from ..kernel.leave import departure
        from ..kernel.node import NodeResources

        driver = driver_for(mode, request.iptables_backend, directory, dict(_xdp(request).capacities) if mode == "xdp" else None)
        others = [d for d in installed_drivers(driver.name, directory) if d.name != "ipvs" or departure(d, d.observe())]
        if request.iptables_backend:  # else it is the variant that has such rules
            others = stray_rules(driver) + others
        return cls(request, driver, others, NodeResources(directory))

    def plan(self, dataplane: Dataplane, warnings: tuple[Notice, ...], progress: Progress, *, keep_connections: bool = True) -> Plan:
        """What makes this node run `dataplane`.

        `keep_connections`: what open connections need stays when the last Service of their IP version goes.
        """
        from ..plan import make_plan

        dataplane, unsupported = self._supported(dataplane)
        warnings += self.request.heard(unsupported)
        progress.step("reading the kernel")
        self.observed = self.driver.observe()
        if keep_connections:
            dataplane = msgspec.structs.replace(dataplane, standing=self._standing())
        progress.step("lowering")
        self.desired = self.driver.target.lower(dataplane)
        self.node_desired = self._node_resources(dataplane)
        goal = self.resources.goal(self.node_desired)
        progress.step("comparing")
        return make_plan(
            self.driver.target,
            self.driver.name,
            self.observed,
            self.desired,
            self.resources.observe(goal),
            goal,
            tuple(d.name for d in self.others),
            warnings,
        )

    @cached_property
    def held(self) -> list[FrontendView]:
        """The frontends that the kernel had in this mode when it was read. After `plan`."""
        return self.driver.target.frontends(self.observed)

    def service_changes(self) -> list[ServiceChange]:
        """What `plan` came to, in terms of Services."""
        from ..plan import service_changes

        return service_changes(self.held, self.driver.target.frontends(self.desired))

    def removal(self, plan: Plan, dataplane: Dataplane) -> Removal:
        """The Services that the node has, in any mode's rules, and that `plan`, which is for `dataplane`, takes away."""
        from ..plan import Removal, service_names

        if not plan.other_modes and all(change.old is None for change in plan.rules):
            return Removal(0, 0)  # nothing goes, and counting what there is takes time
        held = service_names(self.held)
        for other in self.others:
            held |= service_names(other.target.frontends(other.observe()))
        wanted = {port.name.partition(":")[0] for port in dataplane.ports}
        return Removal(len(held - wanted), len(held))

    def _standing(self) -> tuple[int, ...]:
        """The IP versions in which connections may be open, through this mode or one that it replaces.

        Those of mode xdp are in its own maps: another mode's rules don't translate them.
        """
        standing = set(self.driver.target.standing(self.observed))
        replaced = {v for other in self.others if other.name != "xdp" for v in other.target.standing(other.observe())}
        if replaced - standing:
            standing |= replaced.intersection(self.driver.families())
        return tuple(sorted(standing))

    def _node_resources(self, dataplane: Dataplane) -> Program:
        """The node resources of `dataplane`. What open connections need beside it stays if an apply has set it."""
        from ..targets.node import lower_node

        desired = lower_node(msgspec.structs.replace(dataplane, standing=()), self.driver.name)
        for key, value in lower_node(dataplane, self.driver.name).items():
            if self.resources.has_set(key):
                desired.setdefault(key, value)
        return desired

    def _supported(self, dataplane: Dataplane) -> tuple[Dataplane, tuple[Notice, ...]]:
        """`dataplane` less the families that this node's kernel lacks (kube-proxy then runs single-stack), and a warning each."""
        versions = {p.family.value for p in dataplane.ports}
        lacking = versions.difference(self.driver.families()) if versions else versions
        if not lacking:
            return dataplane, ()
        ports = tuple([p for p in dataplane.ports if p.family.value not in lacking])
        text = "{0} has no IPv{1} on this node: the IPv{1} side of every Service is left out"
        told = [Notice("family-missing", text.format(self.driver.name, version)) for version in sorted(lacking)]
        return msgspec.structs.replace(dataplane, ports=ports), tuple(told)

    def commit(
        self, plan: Plan, dataplane: Dataplane, progress: Progress, *, keep_connections: bool = True, then: Callable[[], None] | None = None
    ) -> tuple[Notice, ...]:
        """Make `plan` true and return warnings. From here on a kill of this process changes nothing (kernel/commit.py).

        `keep_connections`: what open connections through another mode's IPVS need stays until they have ended.
        `then` is called when all of it has succeeded.
        """
        from ..kernel.commit import detached
        from ..kernel.conntrack import live_targets, past_targets, purge, renew
        from ..kernel.drivers import tidy
        from ..kernel.facts import interface_addresses
        from ..kernel.ipvs.drain import LIMIT
        from ..kernel.leave import leave, prepare
        from ..kernel.takeover import TakeOver
        from ..targets.node import SysctlKey

        progress.step("programming the kernel")

        def work() -> list[Notice]:
            # a sysctl that the old mode needs is put back when that has gone
            after = [c for c in plan.node if isinstance(c.key, SysctlKey) and c.key not in self.node_desired]
            self.driver.keep(plan.rules)
            warnings = self.resources.apply([c for c in plan.node if c not in after], self.node_desired)
            left = [(other, other.observe()) for other in self.others]
            for other, held in left if keep_connections else ():
                prepare(other, held)
            takeover = TakeOver(self.driver, self.others if keep_connections else ())
            warnings += takeover.begin()
            warnings += self.driver.apply(plan.scripts, plan.rules) or []
            past = past_targets(self.driver.target, self.observed) if plan.rules else {}
            for other, held in left:
                flows = past_targets(other.target, held)
                if keep_connections and other.name == "ipvs":
                    # the new rules see no packet of a flow that IPVS has begun, and its real servers go now
                    purge({}, flows, interface_addresses())
                    if connections := leave(other, held):
                        warnings.append(Notice("ipvs-lingers", _LINGERS.format(connections, LIMIT / 60)))
                else:
                    changes = other.target.diff(held, {})
                    other.apply(other.target.scripts(changes), changes)
                tidy(other, held)
                past |= flows
            warnings += takeover.finish()
            if not keep_connections:
                tidy(self.driver, self.observed)
            warnings += self.resources.apply(after, self.node_desired)
            live = live_targets(dataplane)
            if plan.rules and (live or past):
                purge(live, past, interface_addresses())
            if plan.rules and self.driver.name != "xdp":  # there a retry is looked up anew, whatever conntrack has of it
                renew(dataplane, interface_addresses(), untranslated=self.driver.name != "ipvs")
            if then is not None:
                then()
            return warnings

        try:
            return self.request.heard(detached(work, progress.tick))
        finally:
            progress.done()


class Prepared(NamedTuple):
    """All that an apply needs, up to what it will do. Made under the node's lock, which it outlives: see `again`."""

    applied: Applied | None
    compiled: Compiled
    session: Session
    plan: Plan

    @classmethod
    def make(cls, request: Request, specs: Specs, directory: Path, progress: Progress) -> Prepared:
        """From `specs` to the plan for this node. `directory`: its run directory, locked."""
        from ..kernel.remember import recall

        applied = recall(directory)
        compiled = compile_specs(specs, request, progress, on_node=True, default_mode=applied.mode if applied else None)
        session = Session.open(request, compiled.mode, directory)
        return cls(applied, compiled, session, session.plan(compiled.dataplane, compiled.warnings, progress))

    def again(self, directory: Path, progress: Progress) -> Prepared:
        """The same under a new lock. Raises KcompileError where the node or its allocations have changed since."""
        from ..spec.state import AllocationState

        session = Session.open(self.session.request, self.compiled.mode, directory)
        plan = session.plan(self.compiled.dataplane, self.compiled.warnings, progress)
        allocated = AllocationState.load(str(self.compiled.allocations_path))
        if plan != self.plan or allocated != self.compiled.allocated_before:
            raise KcompileError(CHANGED)
        return Prepared(self.applied, self.compiled, session, plan)

"""kcompile for programs: what ``import kcompile`` offers. docs/howto/library.md shows it at work.

read_cluster()   manifests and settings                  -> Cluster
compile()        a cluster, for one node in one mode     -> Compiled
plan()           what an apply would do to this node     -> Plan
apply()          a plan, carried out                     -> warnings

Every failure is an exception of `kcompile.errors`. Nothing is printed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import msgspec

from .engine import cluster as _cluster
from .engine.progress import Progress, silent
from .engine.request import Request, allocations_path
from .errors import InputError
from .notices import Notice
from .plans import Removal, ServiceChange
from .program import Change, Key, Program
from .targets.base import FrontendView

if TYPE_CHECKING:
    from .engine.apply import Prepared
    from .ir.model import Dataplane
    from .plans import Plan as _Plan
    from .targets.base import Target

__all__ = [
    "Change",
    "Cluster",
    "Compiled",
    "FrontendView",
    "Key",
    "Notice",
    "Options",
    "Plan",
    "Program",
    "Removal",
    "ServiceChange",
    "Source",
    "apply",
    "compile",
    "plan",
    "read_cluster",
]

Source = str | os.PathLike[str] | Mapping[str, Any]
"""A file or directory of manifests, ``-`` for standard input, or one manifest as a dict."""


class Options(TypedDict, total=False):
    """What `read_cluster` takes beside its own parameters: the command line's options, with its defaults
    (docs/reference/cli.md).
    """

    allow_empty: bool
    cgroup: str
    compat: str
    domain: str
    fast_path: str
    fast_path_devices: tuple[str, ...]
    iptables_backend: str
    ipvs_scheduler: str
    kustomizations: tuple[str, ...]
    max_input_bytes: int
    node_port_range: str
    pod_cidrs: str
    quiet_warnings: tuple[str, ...]
    recursive: bool
    service_cidrs: str
    socket_lb: str
    state: str
    validate: str
    verbose: bool
    xdp_balance: str
    xdp_capacity: tuple[str, ...]
    xdp_mode: str


class Cluster(_cluster.Cluster, kw_only=True):
    """A cluster as one of its nodes sees it, with every address and endpoint filled in.

    inventory   the objects, in lists by kind: `inventory.services`, `inventory.endpoint_slices`, ...
    node        the Node object of this node; None where the input has none
    config      the configuration; settings: the cluster's ranges and domain
    notices     warnings about the input
    memory      the addresses and ports that were allocated, which `apply` writes to a file
    """

    request: Request


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one node in one mode.

    mode        ``nftables``, ``iptables``, ...
    program     every rule resource: key -> immutable value
    node        the sysctls and health check ports beside them, likewise
    dataplane   what they were lowered from: the IR
    warnings    of the input, and of what the mode leaves out

    >>> service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
    ...            "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]}}
    >>> compiled = compile(read_cluster(service), mode="nftables")
    >>> [(view.service, view.address, view.port, view.verdict) for view in compiled.frontends]
    [('default/web', '10.96.0.10', 80, 'reject')]
    >>> list(compiled.scripts), compiled.text.splitlines()[0]
    (['nft'], 'add table ip kcompile')
    """

    mode: str
    program: Program
    node: Program
    dataplane: Dataplane
    warnings: tuple[Notice, ...]
    _target: Target
    _changes: tuple[Change, ...]

    @property
    def scripts(self) -> Mapping[str, str]:
        """What makes an empty node run it, by the tool that takes it.

        ``nft``: for ``nft -f``; ``ip4``, ``ip6``: for ``iptables-restore --noflush`` and ip6tables'. Modes
        ipvs and xdp have no tool that takes all of theirs: a line a resource, for people.
        """
        return self._target.scripts(self._changes)

    @property
    def text(self) -> str:
        """All `scripts`, one after the other."""
        return "".join(self.scripts.values())

    @property
    def frontends(self) -> list[FrontendView]:
        """Each address and port that is served, in a stable order."""
        return self._target.frontends(self.program)


class Plan:
    """What `apply` will do to one node, and has not done. Print it: it reads as ``kcompile plan`` does."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared

    def __repr__(self) -> str:
        return f"<kcompile.{self}>"

    def __str__(self) -> str:
        from .plans.render import plan_line

        return plan_line(self._plan)

    @property
    def _plan(self) -> _Plan:
        return self._prepared.plan

    @property
    def mode(self) -> str:
        """The mode that the node is to run; iptables with its back end: ``iptables-nft``."""
        return self._plan.mode

    @property
    def empty(self) -> bool:
        """True where the node already is as it should be."""
        return self._plan.empty

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every resource that is created, updated or deleted."""
        return self._plan.changes

    @cached_property
    def services(self) -> list[ServiceChange]:
        """The same in terms of Services: the frontends that appear, go, or change their backends."""
        return self._prepared.session.service_changes()

    @property
    def lines(self) -> list[str]:
        """`services` as text, a line each: ``+ default/web  ClusterIP 10.96.0.10:80/TCP -> ...``."""
        from .plans.render import service_lines

        return service_lines(self.services)

    @property
    def scripts(self) -> Mapping[str, str]:
        """What runs, by the tool that takes it; empty where no rule changes. See `Compiled.scripts`."""
        return self._prepared.session.driver.target.scripts(self._plan.rules)

    @property
    def other_modes(self) -> tuple[str, ...]:
        """Modes whose rules are on the node, and go once the new ones are in."""
        return self._plan.other_modes

    @cached_property
    def removal(self) -> Removal:
        """How many of the node's Services go: the command asks before it removes most of them, `apply`
        doesn't.
        """
        return self._prepared.removal

    @property
    def warnings(self) -> tuple[Notice, ...]:
        """Of the input, of the mode, and of this node."""
        return self._plan.warnings


def read_cluster(
    sources: Source | Iterable[Source],
    config: str | os.PathLike[str] | None = None,
    node: str | None = None,
    *,
    netns: str | None = None,
    progress: Progress = silent,
    **options: Unpack[Options],
) -> Cluster:
    """Read manifests, check them, and fill in what a control plane would.

    What is allocated depends on what was before: it is kept in the file `state`, by default that of the
    command line for `netns`. This only reads it; `apply` writes it.

    :param sources: files, directories and dicts, one or many; dicts are read as their JSON, and not changed
    :param config: a KubeProxyConfiguration
    :param node: the name of the node that the rules are for; None: the input's only Node
    :param netns: the network namespace that stands for the node (``ip netns``); None: the current one
    :param progress: called with the name of each step
    :return: a cluster that can be compiled and planned any number of times
    :raises errors.SpecError: for a manifest that is wrong, with its file, document, object and field
    :raises errors.ConfigError: for a configuration or an option that is wrong
    :raises errors.AllocationError: where an address or port is taken twice, or its range is used up
    :raises errors.EmptyInputError: where there is no Service, unless `allow_empty`
    :raises TypeError: for an option that isn't one, or a source that is neither a path nor a mapping

    >>> cluster = read_cluster([
    ...     {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
    ...      "spec": {"clusterIP": "10.96.0.10", "selector": {"app": "web"}, "ports": [{"port": 80}]}},
    ... ])
    >>> [service.key for service in cluster.inventory.services]
    ['shop/web']
    >>> print(cluster.notices[0].id)
    no-endpoints

    What is wrong is an exception that says where:

    >>> read_cluster({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
    ...               "spec": {"ports": [{"port": "80"}]}})
    Traceback (most recent call last):
    kcompile.errors.SpecError: <objects>: document 1: Service web: spec.ports[0].port: must be an integer, ...
    """
    from .engine.read import read_input

    unknown = set(options) - Options.__annotations__.keys()
    if unknown:
        raise TypeError(f"read_cluster() has no option {', '.join(sorted(unknown))}")
    files, objects = _sorted_out(sources)
    if not (files or objects or options.get("kustomizations")):
        raise InputError("no sources: give files, directories or manifests as dicts")
    request = Request(
        files=files,
        objects=objects,
        config=os.fspath(config) if config is not None else None,
        node=node,
        netns=netns,
        **options,
    )
    given = read_input(request, progress)
    complete = _cluster.complete_input(given, request, allocations_path(request))
    return Cluster(**msgspec.structs.asdict(complete), request=request)


def compile(cluster: Cluster, mode: str | None = None) -> Compiled:  # noqa: A001 -- as kcompile.compile
    """The rules of the cluster's node. Needs neither root nor the tools of the mode, and touches nothing.

    :param mode: a value of ``--mode``; None: the configuration's, or nftables
    :raises errors.ConfigError: for a mode or a setting that can't be
    """
    from .engine.compile import compile_cluster

    compiled = compile_cluster(_in_mode(cluster, mode), cluster.request)
    target, alone = compiled.alone()
    return Compiled(
        mode=compiled.mode.name,
        program=_made(alone.rules),
        node=_made(alone.node),
        dataplane=compiled.dataplane,
        warnings=compiled.warnings,
        _target=target,
        _changes=alone.rules,
    )


def plan(cluster: Cluster, mode: str | None = None, *, progress: Progress = silent) -> Plan:
    """Compare the node with the cluster: this machine, or the network namespace that the cluster was read
    for.

    Needs root. The calling thread is in that namespace meanwhile, and holds its lock, unless an agent does.

    :param mode: a value of ``--mode``; None: the configuration's, or what the node runs, or nftables
    :raises errors.ConfigError: for a mode or a setting that can't be
    :raises errors.UnsupportedError: where this node can't run the mode, or there is no such namespace
    :raises errors.LockedError: where another kcompile holds the lock for half a minute
    :raises errors.KernelError: where the kernel refuses to be read
    """
    from .engine.apply import prepare_cluster
    from .engine.session import at_node

    here = _at_home(_in_mode(cluster, mode))
    with at_node(cluster.request, only_reads=True) as directory:
        return Plan(prepare_cluster(here, cluster.request, directory, progress))


def apply(plan: Plan, *, progress: Progress = silent) -> tuple[Notice, ...]:
    """Carry `plan` out: all of it or nothing. Needs root. Returns the warnings of doing so.

    Nobody is asked: `Plan.removal` says how many Services go.

    :raises errors.KcompileError: where the node or its allocations have changed since; make a new plan
    :raises errors.LockedError: where another kcompile holds the lock for half a minute
    :raises errors.KernelError: where the kernel refuses; what was is put back, or the next apply repairs it
    """
    from .engine.session import at_node

    with at_node(plan._prepared.session.request) as directory:
        return plan._prepared.again(directory, progress).finish(directory, progress)


def _sorted_out(
    sources: Source | Iterable[Source],
) -> tuple[tuple[str, ...], tuple[Mapping[str, Any], ...]]:
    """The paths among `sources`, and the manifests."""
    if isinstance(sources, str | os.PathLike | Mapping):
        sources = [sources]
    files: list[str] = []
    objects: list[Mapping[str, Any]] = []
    for source in sources:
        if isinstance(source, Mapping):
            objects.append(source)
        else:
            files.append(os.fspath(source))
    return tuple(files), tuple(objects)


def _in_mode(cluster: Cluster, mode: str | None) -> Cluster:
    if mode is None:
        return cluster
    config = msgspec.structs.replace(cluster.config, mode=mode)
    return msgspec.structs.replace(cluster, config=config)


def _at_home(cluster: Cluster) -> Cluster:
    """`cluster` for the node that this is: where nothing else names it, it has the host's name."""
    if cluster.config.hostname or cluster.inventory.nodes:
        return cluster
    from .kernel.facts import hostname

    config = msgspec.structs.replace(cluster.config, hostname=hostname())
    return msgspec.structs.replace(cluster, config=config)


def _made(changes: Iterable[Change]) -> dict[Key, Any]:
    return {change.key: change.new for change in changes}

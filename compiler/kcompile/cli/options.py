"""The options that verbs share, each defined once."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..modes import MODES, SCHEDULERS

__all__ = ["cluster_domain", "configuration", "dry_run", "output", "place", "service_ranges", "specs", "yes"]

F = TypeVar("F", bound=Callable[..., Any])


def _known(context: click.Context, parameter: click.Parameter, ids: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG001
    """The ids of --quiet-warning; a usage error names those that are near an unknown one."""
    from ..notices import WARNINGS

    for unknown in set(ids).difference(WARNINGS):
        near = difflib.get_close_matches(unknown, WARNINGS, n=3) or sorted(WARNINGS)
        raise click.BadParameter(f"no warning has the id {unknown!r}; there is {', '.join(near)}")
    return ids


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(f: F) -> F:
        for option in reversed(options):
            f = option(f)
        return f

    return decorate


place = _options(
    click.option(
        "--mode",
        type=click.Choice(list(MODES)),
        help="The kind of rules. Default: the config's, the one in use, or nftables.",
    ),
    click.option(
        "--iptables-backend",
        type=click.Choice(["legacy", "nft"]),
        help="Which iptables. Default: the one that this node uses already.",
    ),
    click.option("--netns", metavar="NAME", help="Act in this network namespace (as ip netns lists it)."),
)
"""Where to act."""

configuration = click.option(
    "--config",
    metavar="FILE",
    help="A KubeProxyConfiguration or its ConfigMap, a kubeadm file, or a kcompile configuration.",
)

cluster_domain = click.option(
    "--cluster-domain",
    "domain",
    metavar="NAME",
    help="The cluster's domain. Default: the config's, or cluster.local.",
)

service_ranges = _options(
    click.option(
        "--service-cluster-ip-range", "service_cidrs", metavar="CIDR[,CIDR]", help="Addresses of Services."
    ),
    click.option(
        "--service-node-port-range",
        "node_port_range",
        metavar="FROM-TO",
        help="Ports of NodePorts (30000-32767).",
    ),
)
"""What the cluster gives to its Services."""

recursive = click.option("-R", "--recursive", is_flag=True, help="Read the folders of a directory too.")

specs = _options(
    click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        metavar="PATH",
        help="Manifests: a YAML or JSON file, a directory, or - for stdin.",
    ),
    recursive,
    click.option(
        "-k",
        "--kustomize",
        "kustomizations",
        multiple=True,
        metavar="DIR",
        help="A directory for `kubectl kustomize`, which must be there.",
    ),
    place,
    click.option(
        "--node",
        metavar="NAME",
        help="Which node this is: a Node object among the manifests, or just its name.",
    ),
    configuration,
    click.option(
        "--compat",
        type=click.Choice(["iptables", "nftables"]),
        help="Behave as this kube-proxy mode where they differ.",
    ),
    click.option(
        "--ipvs-scheduler",
        type=click.Choice(SCHEDULERS),
        help="How mode ipvs chooses a backend. Default: the config's, or rr.",
    ),
    click.option(
        "--xdp-mode",
        type=click.Choice(["native", "generic", "auto"]),
        help="How mode xdp uses XDP. Default: auto, by the NIC.",
    ),
    click.option(
        "--socket-lb",
        type=click.Choice(["tcp", "all", "off"]),
        help="Which sockets of the node mode xdp connects. Default: tcp.",
    ),
    click.option(
        "--cgroup",
        metavar="PATH",
        help="The cgroup2 directory whose sockets are meant. Default: $KCOMPILE_CGROUP, or the root.",
    ),
    click.option(
        "--xdp-balance",
        type=click.Choice(["maglev", "random"]),
        help="How mode xdp chooses a backend. Default: maglev.",
    ),
    click.option(
        "--xdp-capacity",
        multiple=True,
        metavar="MAP=ENTRIES",
        help="The size of a map that mode xdp makes. May be repeated.",
    ),
    click.option("--state", metavar="FILE", help="Where allocated addresses and ports are kept."),
    service_ranges,
    click.option(
        "--pod-cidr",
        "pod_cidrs",
        metavar="CIDR[,CIDR]",
        help="Addresses of pods: what comes from there is local.",
    ),
    click.option(
        "--validate",
        is_flag=False,
        flag_value="strict",
        default="warn",
        metavar="strict|warn|ignore",
        type=click.Choice(["strict", "warn", "ignore", "true", "false"]),
        help="What a field is that the API doesn't have: an error, a warning (the default), or nothing.",
    ),
    click.option(
        "--max-input-bytes",
        type=click.IntRange(min=1),
        default=128 << 20,
        help="Refuse larger files (128 MiB).",
    ),
    click.option(
        "--allow-empty",
        is_flag=True,
        help="Take an input without any Service for what is meant. Default: it is an error.",
    ),
    click.option(
        "--quiet-warning",
        "quiet_warnings",
        multiple=True,
        metavar="ID",
        callback=_known,
        help="Drop the warnings of this id.",
    ),
    click.option(
        "-v", "--verbose", is_flag=True, help="Show every warning, and each object that is skipped."
    ),
)
"""What to compile, and for which node."""

output = click.option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", help="How to print."
)

yes = click.option(
    "-y", "--yes", is_flag=True, help="Don't ask on a terminal before most of the Services are removed."
)

dry_run = click.option(
    "--dry-run",
    is_flag=False,
    flag_value="client",
    default="none",
    type=click.Choice(["none", "client", "kernel"]),
    help="Change nothing; --dry-run=kernel asks the kernel whether it would take the rules.",
)

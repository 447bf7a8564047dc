"""The options that several verbs have, each defined once."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..modes import MODES, SCHEDULERS

__all__ = [
    "api_server",
    "cluster_domain",
    "configuration",
    "dry_run",
    "output",
    "place",
    "service_ranges",
    "specs",
    "yes",
]

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
        help="Which rules to write. Default: as in --config, else the mode in use, else nftables.",
    ),
    click.option(
        "--iptables-backend",
        type=click.Choice(["legacy", "nft"]),
        help="iptables variant. Default: the one that this node already uses.",
    ),
    click.option(
        "--netns", metavar="NAME", help="Work in this network namespace (a name of `ip netns list`)."
    ),
)
"""The mode and the netns to work in."""

configuration = click.option(
    "--config",
    metavar="FILE",
    help="A KubeProxyConfiguration or its ConfigMap, a kubeadm file, or a kcompile configuration.",
)

cluster_domain = click.option(
    "--cluster-domain",
    "domain",
    metavar="NAME",
    help="DNS domain of the cluster. Default: as in --config, else cluster.local.",
)

service_ranges = _options(
    click.option(
        "--service-cluster-ip-range",
        "service_cidrs",
        metavar="CIDR[,CIDR]",
        help="Address ranges for clusterIPs.",
    ),
    click.option(
        "--service-node-port-range",
        "node_port_range",
        metavar="FROM-TO",
        help="Port range for NodePorts (30000-32767).",
    ),
)
"""The ranges that clusterIPs and nodePorts are allocated from."""

api_server = _options(
    click.option(
        "--kubeconfig",
        metavar="FILE",
        help="Without -f: how to reach the API server. Default: $KUBECONFIG, ~/.kube/config, or in cluster.",
    ),
    click.option(
        "--context", metavar="NAME", help="The context of the kubeconfig. Default: its current one."
    ),
)
"""How to reach an API server."""

recursive = click.option("-R", "--recursive", is_flag=True, help="Also read subdirectories.")

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
        help="Read the output of `kubectl kustomize DIR` (needs kubectl).",
    ),
    place,
    click.option(
        "--node",
        metavar="NAME",
        help="Name of this node; its Node object is used if the manifests have one.",
    ),
    configuration,
    click.option(
        "--compat",
        type=click.Choice(["iptables", "nftables"]),
        help="Follow this kube-proxy mode where its iptables and nftables modes differ.",
    ),
    click.option(
        "--ipvs-scheduler",
        type=click.Choice(SCHEDULERS),
        help="(ipvs) Scheduler. Default: as in --config, else rr.",
    ),
    click.option(
        "--xdp-mode",
        type=click.Choice(["native", "generic", "auto"]),
        help="(xdp) Attach XDP in native or generic mode. Default: auto, chosen by NIC.",
    ),
    click.option(
        "--socket-lb",
        type=click.Choice(["tcp", "all", "off"]),
        help="(xdp) Load-balance the node's own sockets at connect(): tcp (default), all or off.",
    ),
    click.option(
        "--cgroup",
        metavar="PATH",
        help="(xdp) cgroup2 directory for --socket-lb. Default: $KCOMPILE_CGROUP, else the root cgroup.",
    ),
    click.option(
        "--xdp-balance",
        type=click.Choice(["maglev", "random"]),
        help="(xdp) How a backend is chosen. Default: maglev.",
    ),
    click.option(
        "--xdp-capacity",
        multiple=True,
        metavar="MAP=ENTRIES",
        help="(xdp) Size of a BPF map. May be repeated.",
    ),
    click.option(
        "--fast-path",
        type=click.Choice(["flowtable", "off"]),
        help="Established connections skip the hooks through a flowtable. Default: as in --config, else off.",
    ),
    click.option(
        "--fast-path-device",
        "fast_path_devices",
        multiple=True,
        metavar="PATTERN",
        help="Interfaces of the flowtable: a name or shell pattern. May be repeated. Default: all.",
    ),
    click.option("--state", metavar="FILE", help="File that keeps allocated clusterIPs and nodePorts."),
    service_ranges,
    click.option(
        "--pod-cidr",
        "pod_cidrs",
        metavar="CIDR[,CIDR]",
        help="Pod address ranges. Traffic from there counts as local.",
    ),
    click.option(
        "--validate",
        is_flag=False,
        flag_value="strict",
        default="warn",
        metavar="strict|warn|ignore",
        type=click.Choice(["strict", "warn", "ignore", "true", "false"]),
        help="Unknown fields are an error (strict), a warning (warn, the default) or ignored.",
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
        help="Accept input without a Service. Without this it is an error.",
    ),
    click.option(
        "--quiet-warning",
        "quiet_warnings",
        multiple=True,
        metavar="ID",
        callback=_known,
        help="Hide warnings with this id. May be repeated.",
    ),
    click.option("-v", "--verbose", is_flag=True, help="Show all warnings, and each skipped object."),
)
"""The input, and the node to compile it for."""

output = click.option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", help="Output format."
)

yes = click.option("-y", "--yes", is_flag=True, help="Don't ask before most Services are removed.")

dry_run = click.option(
    "--dry-run",
    is_flag=False,
    flag_value="client",
    default="none",
    type=click.Choice(["none", "client", "kernel"]),
    help="Change nothing. With --dry-run=kernel, the kernel checks the rules.",
)

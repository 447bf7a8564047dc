"""``kcompile lab``: a small cluster on this machine, from Kubernetes manifests."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..modes import MODES
from . import options
from .console import echo, print_data, warn
from .lab_exec import become
from .lab_objects import container_named, key_of, kind_named, pods_named

if TYPE_CHECKING:
    from ..lab.lab import Caller, Lab

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

_name = click.option(
    "--name",
    default="lab",
    envvar="KCOMPILE_LAB",
    metavar="LAB",
    help="Name of the lab (lab).",
)
_namespace = click.option(
    "-n", "--namespace", metavar="NS", help="Namespace of the named object. Default: any."
)
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print only warnings.")
_images = click.option("--images", metavar="FILE", help="YAML file that maps more images to local commands.")
_mode = click.option(
    "--mode",
    type=click.Choice(list(MODES)),
    help="Mode of all nodes. Default: the mode in use, else nftables.",
)
_OTHERS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _files(required: bool) -> Callable[[F], F]:
    text = "Manifests: a YAML or JSON file, a directory, or - for stdin."
    files = click.option(
        "-f", "--filename", "files", multiple=True, required=required, metavar="PATH", help=text
    )
    return lambda f: files(options.recursive(f))


def _expanded(files: tuple[str, ...], recursive: bool) -> tuple[str, ...]:
    """`files`, the directories among them as all that is below them where `recursive`."""
    from ..errors import SpecError
    from ..spec import reader

    if not recursive:
        return files
    try:
        return tuple(reader.files(files, recursive=True))
    except reader.Unreadable as error:
        raise SpecError(error.message, source=error.source) from None


@click.group("lab")
def command() -> None:
    """A small cluster on this machine: nodes and pods are network namespaces, containers are processes, and
    kcompile programs each node.

    A lab is not connected to the machine's network. `kcompile lab down` removes all of it.
    """


@command.command()
@_files(required=False)
@_name
@click.option(
    "--nodes",
    type=click.IntRange(1, 200),
    default=2,
    help="Number of nodes (2), if the manifests have no Nodes.",
)
@_mode
@click.option(
    "--network",
    type=click.Choice(["routes", "vxlan"]),
    default="routes",
    help="Network between the nodes' pods (routes).",
)
@click.option("--dual-stack", is_flag=True, help="Give nodes and pods IPv6 addresses too.")
@options.cluster_domain
@options.service_ranges
@click.option(
    "--config",
    metavar="FILE",
    help="Configuration of all nodes, as for apply. Default: traffic from the node's pods is local.",
)
@_images
@_quiet
def up(
    name: str,
    files: tuple[str, ...],
    recursive: bool,
    quiet: bool,
    images: str | None,
    config: str | None,
    domain: str | None,
    service_cidrs: str | None,
    node_port_range: str | None,
    **given: Any,
) -> None:
    """Start a lab with the objects of the manifests, and wait until its pods are ready."""
    from pathlib import Path

    from ..engine.request import Request, configuration
    from ..errors import ConfigError
    from ..lab.images import read_images
    from ..lab.lab import Lab, Options

    if config == "-":
        raise ConfigError("--config -: a lab needs a file")
    request = Request(
        config=config, domain=domain, service_cidrs=service_cidrs, node_port_range=node_port_range
    )
    given["mode"] = given["mode"] or "nftables"
    wanted = Options(
        **given,
        settings=configuration(request),
        config=Path(config).read_text() if config else "",
        images=read_images(images) if images else {},
    )
    lab = Lab.up(name, _expanded(files, recursive), wanted, _caller(quiet))
    if not quiet:
        counts = f"{len(lab.state.nodes)} nodes, {len(lab.state.pods)} pods"
        click.echo(f"Lab {name} is up: {counts}. Next: kcompile lab status")


@command.command()
@_name
@click.option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", help="Output format."
)
def status(name: str, output: str) -> None:
    """Show the lab's nodes, pods and Services."""
    from ..lab.pods import Kubelet
    from ..lab.state import LabState, lab_directory
    from ..lab.view import PodView, data, tree
    from ..spec.load import load

    directory = lab_directory(name)
    state = LabState.load(directory)
    kubelet = Kubelet(state, directory)
    views = {}
    for pod in state.pods:
        statuses = kubelet.statuses(pod)
        ended = next((f"ended ({each.exit})" for each in statuses if not each.pid), "")
        readiness = "ready" if kubelet.is_ready(pod) else "not ready"
        views[pod.key] = PodView(ended or readiness, sum(each.restarts for each in statuses))
    shown = data(state, load([str(directory / "cluster/cluster.json")]), views)
    if output == "text":
        echo(tree(shown))
    else:
        print_data(shown, output)


@command.command()
@_files(required=False)
@_name
@_mode
@_images
@_quiet
def apply(
    name: str, files: tuple[str, ...], recursive: bool, mode: str | None, images: str | None, quiet: bool
) -> None:
    """Add or change objects, as kubectl apply does; with --mode, change the mode of all nodes."""
    from ..lab.images import read_images

    if not files and not mode:
        raise click.UsageError("nothing to do: give manifests (-f) or --mode")
    with _open(name, quiet) as lab:
        lab.apply(_expanded(files, recursive), mode, read_images(images) if images else None)


@command.command()
@click.argument("kind", required=False)
@click.argument("names", nargs=-1)
@_files(required=False)
@_name
@_namespace
@_quiet
def delete(
    kind: str | None,
    names: tuple[str, ...],
    files: tuple[str, ...],
    recursive: bool,
    name: str,
    namespace: str | None,
    quiet: bool,
) -> None:
    """Remove objects: those in manifests (-f), or by KIND and NAMES."""
    from ..lab.manifests import read_manifests

    if bool(files) == bool(kind) or (kind and not names):
        raise click.UsageError("say what to delete: -f PATH, or KIND NAME")
    with _open(name, quiet) as lab:
        if files:
            manifests, _ = read_manifests(_expanded(files, recursive))
            keys = [manifest.key for manifest in manifests if not manifest.key.startswith("Node/")]
        else:
            found = kind_named(str(kind))
            keys = [key_of(lab.state, found, each, namespace) for each in names]
        lab.delete(keys)


@command.command()
@click.argument("deployment")
@click.argument("replicas", type=click.IntRange(0, 1000))
@_name
@_namespace
@_quiet
def scale(deployment: str, replicas: int, name: str, namespace: str | None, quiet: bool) -> None:
    """Set the number of pods of DEPLOYMENT."""
    with _open(name, quiet) as lab:
        key = key_of(lab.state, "Deployment", deployment.rpartition("/")[2], namespace)
        lab.scale(key.partition("/")[2], replicas)


@command.command("delete-pod")
@click.argument("pod")
@_name
@_namespace
@_quiet
def delete_pod(pod: str, name: str, namespace: str | None, quiet: bool) -> None:
    """Remove POD; its Deployment starts another one with a new address."""
    with _open(name, quiet) as lab:
        lab.delete_pod(pods_named(lab.state, pod, namespace)[0])


@command.command("exec", context_settings=_OTHERS)
@click.argument("who")
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@_name
@_namespace
@click.option("-c", "--container", metavar="NAME", help="Container of the pod. Default: the first.")
def execute(
    who: str, words: tuple[str, ...], name: str, namespace: str | None, container: str | None
) -> None:
    """Run COMMAND in WHO: a pod (its name, a prefix of it, or deploy/NAME), a node, or `client` (the client
    outside the cluster).
    """
    become(name, who, namespace, container, words[1:] if words[0] == "--" else words)


@command.command(context_settings=_OTHERS)
@click.argument("words", metavar="URL [CURL OPTIONS]...", nargs=-1, required=True, type=click.UNPROCESSED)
@_name
@_namespace
@click.option(
    "--from",
    "who",
    default="client",
    metavar="WHO",
    help="Where curl runs, as WHO of exec. Default: the client outside the cluster.",
)
def curl(words: tuple[str, ...], who: str, name: str, namespace: str | None) -> None:
    """Run curl on URL from the client outside the cluster, a node or a pod."""
    become(name, who, namespace, None, ("curl", "-sS", "--max-time", "10", *words))


@command.command()
@click.argument("who", metavar="POD")
@_name
@_namespace
@click.option("-c", "--container", metavar="NAME", help="Container of the pod. Default: the first.")
@click.option("--tail", type=click.IntRange(0), metavar="LINES", help="Show only the last LINES lines.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines.")
def logs(
    who: str, name: str, namespace: str | None, container: str | None, tail: int | None, follow: bool
) -> None:
    """Show the output of a pod's container; with deploy/NAME that of all its pods, each line with the pod's
    name.
    """
    from .. import spawn
    from ..lab.pods import Kubelet
    from ..lab.state import LabState, lab_directory

    directory = lab_directory(name)
    state = LabState.load(directory)
    kubelet = Kubelet(state, directory)
    pods = pods_named(state, who, namespace)
    paths = {pod.name: kubelet.log(pod, container_named(kubelet.containers(pod), container)) for pod in pods}
    if len(paths) == 1 and follow:
        only = str(next(iter(paths.values())))
        words = spawn.located(["tail", "-n", str(tail) if tail is not None else "+1", "-F", only])
        os.execve(words[0], words, spawn.environment())  # noqa: S606
    for pod_name, path in paths.items():
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        if tail is not None:
            lines = lines[max(0, len(lines) - tail) :]
        prefix = f"{pod_name}: " if who.startswith("deploy") else ""
        echo(prefix + line for line in lines)


@command.command()
@_name
@click.option("--all", "every", is_flag=True, help="All labs of this machine.")
@_quiet
def down(name: str, every: bool, quiet: bool) -> None:
    """Remove a lab: its processes, namespaces and files. Also works after a crash."""
    from ..lab.lab import down as remove
    from ..lab.netns import names_of_labs
    from ..lab.state import labs

    for each in sorted({*labs(), *names_of_labs()}) if every else [name]:
        there = remove(each)
        if not quiet:
            click.echo(f"Lab {each} is gone." if there else f"There is no lab {each}.")


# --- what the verbs share ---


def _caller(quiet: bool) -> Caller:
    from ..lab.lab import Caller

    return Caller(say=(lambda _: None) if quiet else click.echo, warn=lambda notice: warn([notice]))


def _open(name: str, quiet: bool) -> AbstractContextManager[Lab]:
    from ..lab.lab import Lab

    return Lab.open(name, _caller(quiet))

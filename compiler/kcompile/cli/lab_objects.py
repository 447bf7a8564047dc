"""``kcompile lab delete`` and ``scale``."""

from __future__ import annotations

import click

from . import lab_options as shared

__all__ = ["delete", "scale"]


@click.command()
@click.argument("words", metavar="[KIND NAME... | KIND/NAME...]", nargs=-1)
@shared.files(required=False)
@shared.name
@shared.namespace
@click.option(
    "--grace-period",
    "grace",
    type=click.IntRange(0),
    metavar="SECONDS",
    help="Seconds that a pod's containers have to end. Default: the pod's own.",
)
@shared.wait
@shared.quiet
def delete(
    words: tuple[str, ...],
    paths: tuple[str, ...],
    recursive: bool,
    name: str,
    namespace: str | None,
    grace: int | None,
    waits: bool,
    timeout: float,
    quiet: bool,
) -> None:
    """Remove objects: those in manifests (-f), or by KIND and NAMES. A Deployment replaces its pods."""
    from ..errors import InputError
    from ..lab.applying import remove
    from ..lab.kubesystem import OWN
    from ..lab.naming import named, object_named, owners
    from ..lab.remote import Remote

    if bool(paths) == bool(words):
        raise click.UsageError("say what to delete: -f PATH, or KIND NAME")
    remote = Remote(name)
    if paths:
        given = shared.given_manifests(paths, recursive, namespace)
        wanted = [each.named for each in given if each.named.kind != "Node"]
    else:
        wanted = [object_named(remote, kind, each, namespace) for kind, each in named(words)]
    for each in wanted:
        if tuple(each) in OWN:
            raise InputError(f"{each.kind} {each.namespace}/{each.name} is the lab's own")
    succeeded = owners(remote, wanted) if waits else []
    remove(remote, wanted, shared.say_to(quiet), grace=grace, timeout=timeout if waits else 0.0)
    if waits:
        shared.wait_for(remote, succeeded, timeout, quiet)


@click.command()
@click.argument("words", metavar="[KIND/]NAME [REPLICAS]", nargs=-1, required=True)
@click.option("--replicas", type=click.IntRange(0, 10_000), help="The number of pods.")
@shared.name
@shared.namespace
@shared.wait
@shared.quiet
def scale(
    words: tuple[str, ...],
    replicas: int | None,
    name: str,
    namespace: str | None,
    waits: bool,
    timeout: float,
    quiet: bool,
) -> None:
    """Set the number of pods of a Deployment, or of KIND/NAME: `scale web 3`, `scale sts/db --replicas 3`."""
    from ..lab.applying import scale as set_replicas
    from ..lab.naming import kind_named, object_named
    from ..lab.remote import Remote

    *those, last = words
    if replicas is None and those and last.isdecimal():
        words, replicas = tuple(those), int(last)
    if replicas is None:
        raise click.UsageError("give the number of pods: --replicas N")
    if len(words) == 2:
        words = (f"{words[0]}/{words[1]}",)
    if len(words) != 1:
        raise click.UsageError("give one KIND/NAME")
    kind, slash, rest = words[0].partition("/")
    remote = Remote(name)
    resource = kind_named(kind if slash else "deployment")
    which = object_named(remote, resource, rest if slash else kind, namespace)
    set_replicas(remote, which, replicas, shared.say_to(quiet))
    if waits:
        shared.wait_for(remote, [which], timeout, quiet)

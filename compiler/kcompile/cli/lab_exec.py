"""``kcompile lab exec``, ``curl`` and ``logs``: commands in pods, on nodes, and on the client outside."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from . import lab_options as shared

if TYPE_CHECKING:
    from ..lab.remote import Remote

__all__ = ["curl", "execute", "logs"]

_OTHERS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("exec", context_settings=_OTHERS)
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input on. Default: where it is no terminal.")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Give the command a terminal.")
@shared.name
@shared.namespace
@shared.container
@click.argument("who")
@click.argument("words", metavar="[--] COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(
    who: str,
    words: tuple[str, ...],
    stdin: bool,
    terminal: bool,
    name: str,
    namespace: str | None,
    container: str | None,
) -> None:
    """Run COMMAND in WHO: a pod (its name, a prefix of it, or deploy/NAME), a node, or `client` (the client
    outside the cluster).

    -n NS may also come after WHO, and as with older kubectls last, if there is no `--`.
    """
    from ..lab.remote import Remote

    remote = Remote(name)
    while len(words) > 2 and words[0] in ("-n", "--namespace"):
        namespace, words = words[1], words[2:]
    if words[0] == "--":
        words = words[1:]
    else:
        words, namespace = _with_namespace_last(remote, words, namespace)
    if not words:
        raise click.UsageError("give a command")
    stdin = stdin or (not terminal and not sys.stdin.isatty())
    _run(remote, who, words, namespace, container, stdin=stdin, terminal=terminal)


def _with_namespace_last(
    remote: Remote, words: tuple[str, ...], namespace: str | None
) -> tuple[tuple[str, ...], str | None]:
    """`words` without -n NS at their end, where NS is a namespace of the lab; and the namespace."""
    *command, option, last = words if len(words) > 2 else ("", "", *words)
    if option in ("-n", "--namespace") and remote.get("Namespace", "", last) is not None:
        return tuple(command), last
    return words, namespace


@click.command(context_settings=_OTHERS)
@click.argument("words", metavar="URL [CURL OPTIONS]...", nargs=-1, required=True, type=click.UNPROCESSED)
@shared.name
@shared.namespace
@click.option(
    "--from",
    "who",
    default="client",
    metavar="WHO",
    help="Where curl runs, as WHO of exec. Default: the client outside the cluster.",
)
def curl(words: tuple[str, ...], who: str, name: str, namespace: str | None) -> None:
    """Run curl on URL from the client outside the cluster, a node or a pod."""
    from ..lab.remote import Remote

    _run(Remote(name), who, ("curl", "-sS", "--max-time", "10", *words), namespace, None)


def _run(
    remote: Remote,
    who: str,
    words: tuple[str, ...],
    namespace: str | None,
    container: str | None,
    *,
    stdin: bool = False,
    terminal: bool = False,
) -> NoReturn:
    """Run `words` where `who` is, and end with its exit status."""
    from ..lab.naming import container_of, pods_named
    from ..lab.netns import netns_name
    from ..lab.terminal import execute as run_in_pod

    if who == "client":
        _become(netns_name(remote.name, "client"), words)
    if who in [node.name for node in remote.settings.nodes]:
        _become(netns_name(remote.name, "node", who), words)
    pod = pods_named(remote, who, namespace)[0]
    where, container = (pod["metadata"]["namespace"], pod["metadata"]["name"]), container_of(pod, container)
    sys.exit(run_in_pod(remote, where, container, words, stdin=stdin, terminal=terminal))


def _become(netns: str, words: tuple[str, ...]) -> NoReturn:
    """Run `words` in a network namespace, in the place of this process. Raises UnsupportedError."""
    from .. import spawn
    from ..errors import UnsupportedError
    from ..kernel.netns import entered

    with entered(netns):
        try:
            os.execvpe(words[0], words, {**os.environ, "PATH": spawn.search_path()})  # noqa: S606
        except FileNotFoundError:
            raise UnsupportedError(f"{words[0]}: there is no such command") from None


@click.command()
@click.argument("who", metavar="POD")
@shared.name
@shared.namespace
@shared.container
@click.option("--tail", type=click.IntRange(0), metavar="LINES", help="Show only the last LINES lines.")
@click.option("-p", "--previous", is_flag=True, help="Show the output of the container before this one.")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines.")
def logs(
    who: str,
    name: str,
    namespace: str | None,
    container: str | None,
    tail: int | None,
    previous: bool,
    follow: bool,
) -> None:
    """Show the output of a pod's container; with deploy/NAME that of all its pods, each line with the pod's
    name.
    """
    from ..lab.naming import container_of, pods_named
    from ..lab.podlogs import LogOptions, show
    from ..lab.remote import Remote

    remote = Remote(name)
    found = pods_named(remote, who, namespace)
    pods = [pod["metadata"] for pod in found]
    asked = LogOptions(
        container=container_of(found[0], container), tail=tail, previous=previous, follow=follow
    )
    names = [(meta["namespace"], meta["name"]) for meta in pods]

    def write(line: bytes) -> None:
        click.echo(line, nl=False)

    show(remote, names, asked, write, prefixed="/" in who)

"""The options that verbs of ``kcompile lab`` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..modes import MODES
from . import options
from .console import warn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..lab.given import Given
    from ..lab.remote import Remote
    from ..lab.settings import LabSettings
    from ..lab.waiting import Named

__all__ = [
    "check",
    "container",
    "files",
    "given_manifests",
    "images",
    "mode",
    "name",
    "namespace",
    "quiet",
    "say_to",
    "wait",
    "wait_for",
]

F = TypeVar("F", bound=Callable[..., Any])

name = click.option(
    "--name", default="lab", envvar="KCOMPILE_LAB", metavar="LAB", help="Name of the lab (lab)."
)
namespace = click.option("-n", "--namespace", metavar="NS", help="Namespace. Default: any.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Print only warnings.")
images = click.option("--images", metavar="FILE", help="YAML file that maps more images to local commands.")
mode = click.option(
    "--mode",
    type=click.Choice([*MODES, "none"]),
    help="Mode of all nodes (nftables); none: no rules, for a proxy of your own.",
)
container = click.option(
    "-c", "--container", metavar="NAME", help="Container of the pod. Default: the first."
)


def files(*, required: bool) -> Callable[[F], F]:
    """-f and -R."""
    text = "Manifests: a YAML or JSON file, a directory, or - for stdin."
    option = click.option(
        "-f", "--filename", "paths", multiple=True, required=required, metavar="PATH", help=text
    )
    return lambda f: option(options.recursive(f))


def wait(f: F) -> F:
    """--wait and --timeout."""
    f = click.option(
        "--timeout",
        type=click.FloatRange(0),
        default=120.0,
        metavar="SECONDS",
        help="How long to wait until pods are ready (120).",
    )(f)
    text = "Wait until pods are ready and rules are written (--wait=false: don't)."
    return click.option(
        "--wait", "waits", type=click.BOOL, is_flag=False, flag_value="true", default=True, help=text
    )(f)


def given_manifests(paths: tuple[str, ...], recursive: bool, namespace: str | None = None) -> list[Given]:
    """The manifests of `paths`, not checked yet; warnings are printed. Raises SpecError."""
    from ..errors import SpecError
    from ..lab.given import read_given
    from ..spec import reader

    if recursive:
        try:
            paths = tuple(reader.files(paths, recursive=True))
        except reader.Unreadable as error:
            raise SpecError(error.message, source=error.source) from None
    found, notices = read_given(paths, namespace or "default")
    warn(notices)
    return found


def check(given: Sequence[Given], settings: LabSettings, more: Mapping[str, Any], stand_ins: bool) -> None:
    """Raise InputError for manifests that the lab would refuse, and warn of what has no effect.

    `more`: images beside those of the lab.
    """
    from ..lab.given import check as check_objects
    from ..lab.runnable import check_images, check_volumes, no_effect

    check_objects(given, settings.cluster)
    check_volumes(given)
    check_images(given, settings.images | dict(more), stand_ins=stand_ins)
    warn(no_effect(given))


def say_to(quiet: bool) -> Callable[[str], None]:
    """Prints a line, unless `quiet`."""
    return (lambda _: None) if quiet else click.echo


def wait_for(remote: Remote, objects: Sequence[Named], timeout: float, quiet: bool) -> None:
    """Wait until `objects` are ready, saying on stderr what for where it takes long.

    Raises KernelError after `timeout` seconds, or where a Pod won't become ready.
    """
    import time

    began, told = time.monotonic(), [""]

    def say(lines: list[str]) -> None:
        text = ", ".join(lines[:3]) + (f" and {len(lines) - 3} more" if len(lines) > 3 else "")
        if not quiet and text not in ("", told[0]) and time.monotonic() - began > 1:
            told[0] = text
            click.echo(f"waiting for {text}", err=True)

    remote.wait(objects, timeout, say)

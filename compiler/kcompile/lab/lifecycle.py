"""Whether a lab exists, its lock, and its removal, also after a crash."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError, KernelError, LockedError
from ..kernel.lock import locked
from ..kernel.netns import entered
from ..kernel.places import run_directory
from . import bpffs, netns
from .state import lab_directory

__all__ = ["down", "lock", "refuse_existing", "remove"]


def refuse_existing(name: str, directory: Path) -> None:
    """Raise InputError where lab `name` exists."""
    if (directory / "state.json").exists() or netns.of_lab(name):
        raise InputError(
            f"lab {name} is up already: kcompile lab apply changes it, kcompile lab down removes it"
        )


def down(name: str) -> bool:
    """Remove all that exists of lab `name`; returns False where nothing did."""
    directory = lab_directory(name)
    if not directory.exists() and not netns.of_lab(name):
        return False
    with lock(directory):
        remove(name, directory)
    return True


def remove(name: str, directory: Path) -> None:
    """Kill the processes of lab `name`, then remove its rules' files, namespaces, mounts and folder."""
    names = netns.of_lab(name)
    netns.kill_processes(names)
    for each in names:  # before the namespaces, which say which run directories are theirs
        with contextlib.suppress(KernelError), entered(each):  # a half-made namespace can't be entered
            shutil.rmtree(run_directory(), ignore_errors=True)
    netns.remove(names)
    bpffs.unmount(directory)
    shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold the lock of the lab in `directory`. Raises LockedError; InputError for a user who isn't root."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(directory))
        except LockedError:
            name = directory.name.removeprefix("lab-")
            raise LockedError(f"another kcompile lab is at work on {name}") from None
        except PermissionError as error:
            raise InputError(f"{error.filename}: {error.strerror} (a lab needs root)") from None
        yield

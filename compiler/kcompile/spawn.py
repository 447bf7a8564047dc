"""Every program that kcompile starts: found in folders of the system, never through $PATH or the current
folder, and run in ``/``.

`python` is for modules of kcompile's own: isolated (python -I), so that no file of the current folder and no
$PYTHONPATH has a say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import UnsupportedError

__all__ = ["FOLDERS", "environment", "find", "located", "on_path", "popen", "python", "run", "search_path"]

FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
"""Where programs are looked for, in this order.

$KCOMPILE_PROGRAMS, absolute folders with colons between, replaces it.
"""

_START = Path(__file__).resolve().parent / "isolated.py"
_PACKAGES = {
    "bridge": "iproute2",
    "ip": "iproute2",
    "modprobe": "kmod",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "iptables": "iptables",
    "ip6tables": "iptables",
    "nft": "nftables",
    "ipset": "ipset",
    "curl": "curl",
}


def folders() -> tuple[str, ...]:
    """The folders that programs are looked for in."""
    given = os.environ.get("KCOMPILE_PROGRAMS")
    return _absolute(given) if given else FOLDERS


def _absolute(path: str) -> tuple[str, ...]:
    return tuple(folder for folder in path.split(":") if folder.startswith("/"))


def search_path() -> str:
    """$PATH without relative and empty entries, for commands that the user names; `folders` if nothing is
    left.
    """
    return ":".join(_absolute(os.environ.get("PATH", "")) or folders())


def find(name: str) -> str | None:
    """The full path of the program `name`; None where it is missing."""
    candidates = [name] if name.startswith("/") else [f"{folder}/{name}" for folder in folders()]
    return next((path for path in candidates if Path(path).is_file() and os.access(path, os.X_OK)), None)


def on_path(name: str) -> str | None:
    """The full path of a program of the user's own, found in `search_path`; None where it is missing."""
    return shutil.which(name, path=search_path())


def located(command: Sequence[str]) -> list[str]:
    """`command` with its program's full path. Raises UnsupportedError where that is missing."""
    name = command[0]
    path = find(name)
    if path is None:
        package = _PACKAGES.get(name) or _PACKAGES.get(name.partition("-")[0])
        raise UnsupportedError(f"{name} is missing{f': apt-get install {package}' if package else ''}")
    return [path, *command[1:]]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: this process's without PYTHON*, $PATH of `folders` alone, and `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PATH": ":".join(folders()), **(more or {})}


def python(module: str, *arguments: str, path: Path | None = None) -> list[str]:
    """The command that runs `module` as ``python -m`` would, isolated.

    It may be of kcompile, of a package that this process has loaded, or in the folder `path`.
    """
    package = sys.modules.get(module.partition(".")[0])
    found = [str(path)] if path else []
    if package is not None and package.__file__:
        found.append(str(Path(package.__file__).resolve().parents[1]))
    others = [folder for folder in found if folder != str(_START.parents[1])]
    more = [word for folder in others for word in ("--path", folder)]
    return [sys.executable, "-I", str(_START), *more, module, *arguments]


def run(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | Path = "/", **options: Any
) -> subprocess.CompletedProcess[Any]:
    """subprocess.run() of a program, with `environment(env)`.

    Raises UnsupportedError where the program is missing.
    """
    return subprocess.run(located(command), env=environment(env), cwd=cwd, check=False, **options)


def popen(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | Path = "/", **options: Any
) -> subprocess.Popen[Any]:
    """subprocess.Popen() likewise."""
    return subprocess.Popen(located(command), env=environment(env), cwd=cwd, **options)

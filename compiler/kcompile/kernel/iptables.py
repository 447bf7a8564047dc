"""Reads and writes iptables rules through iptables-save and iptables-restore, legacy or nft variant, both
families.

Acts on the calling thread's network namespace. iptables-restore reads a script from a file in memory
(memfd_create(2)), not from a pipe, so that it never gets a part of it when the parent dies. Each table of a
script is committed on its own; targets/iptables/render.py orders the commits so that every state in between
is safe.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .. import spawn
from ..errors import KernelError, UnsupportedError
from ..program import Key
from ..targets.xtables.parse import IPTABLES, parse
from . import iptables_nft
from .lock import locks_held

__all__ = ["Backend", "apply", "check", "detect_backend", "families", "observe", "saved"]

Backend = Literal["legacy", "nft"]
_BACKENDS: tuple[Backend, ...] = ("nft", "legacy")
_TOOLS = {"ip4": "iptables", "ip6": "ip6tables"}
_TABLES = ("nat", "filter")
# chains that kubelet makes so that others can tell its variant: kubernetes-sigs/iptables-wrappers
_HINT = re.compile(r"^:(KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY) ", re.MULTILINE)
_RULE = re.compile(r"^-A ", re.MULTILINE)
_LINE = re.compile(r"\bline:? (\d+)")
_UNREADABLE = re.compile(r"^# Table `(\w+)' is incompatible", re.MULTILINE)
_LOCK_WAIT = "5"  # seconds for /run/xtables.lock, which kubelet and others take too
# what the tools say where the kernel lacks a table or a family
_ABSENT = re.compile(
    "|".join(
        (
            r"can't initialize ip6?tables table",
            "Could not fetch rule set generation id",
            "Protocol not supported",
            "not supported by protocol",
        )
    )
)


class _Result(NamedTuple):
    code: int
    output: str
    error: str


def detect_backend(override: str | None = None, ours: re.Pattern[str] | None = None) -> Backend:
    """The variant that the node's other rules use; `override` where it is given.

    The one with chains that `ours` matches; else as iptables-wrappers does: the one with kubelet's hint
    chains, with more rules, or of the command ``iptables``. Creates no legacy table where it has the right to
    try in a namespace of its own. Raises UnsupportedError where iptables is missing.
    """
    if override is not None:
        chosen: Backend | None = next((b for b in _BACKENDS if b == override), None)
        if chosen is None:
            raise UnsupportedError(f"iptables variant {override!r}: legacy or nft is meant")
        if _tool("ip4", chosen, "restore") is None:
            raise UnsupportedError(f"iptables-{chosen}-restore is missing: apt-get install iptables")
        return chosen
    usable = [b for b in _BACKENDS if _tool("ip4", b, "restore")]
    if not usable:
        raise UnsupportedError("iptables is missing: apt-get install iptables")
    if len(usable) == 1:
        return usable[0]
    saved = {backend: "".join(_saved(backend, None).values()) for backend in usable}
    for hint in (_HINT,) if ours is None else (re.compile(rf"^:{ours.pattern}", re.MULTILINE), _HINT):
        for backend in usable:
            if hint.search(saved[backend]):
                return backend
    rules = {backend: len(_RULE.findall(saved[backend])) for backend in usable}
    if rules["nft"] != rules["legacy"]:
        return "nft" if rules["nft"] > rules["legacy"] else "legacy"
    preferred = _system_variant()
    other: Backend = "legacy" if preferred == "nft" else "nft"
    return other if not _takes_rules(preferred) and _takes_rules(other) else preferred


def _takes_rules(backend: Backend) -> bool:
    """Whether the kernel accepts rules of `backend`: tried in a temporary namespace, since
    iptables-nft-restore --test doesn't ask the kernel. Where none can be made, a chain that comes and goes
    in one transaction is tried here.
    """
    tool = _tool("ip4", backend, "restore")
    if tool is None:
        return False
    script = "*nat\n:KCOMPILE-PROBE - [0:0]\n-X KCOMPILE-PROBE\nCOMMIT\n"
    done = _elsewhere([tool, "--noflush"], script)
    return (_run([tool, "--noflush"], script) if done is None else done).code == 0


def families(backend: Backend) -> tuple[str, ...]:
    """The families that `backend` can program here: its tool is installed and the kernel has the tables.

    Raises KernelError where a table holds rules that only nft can write: iptables could not read it back.
    """
    for family, text in _saved(backend, _TABLES).items() if backend == "nft" else ():
        if tables := [table for table in _UNREADABLE.findall(text) if table in _TABLES]:
            raise _unreadable(family, tables[0])
    return tuple(family for family in _TOOLS if _works(family, backend))


def observe(
    backend: Backend, tables: tuple[str, ...] = _TABLES, ours: re.Pattern[str] = IPTABLES
) -> dict[Key, Any]:
    """Our chains and jumps in the kernel, in both families; nothing of a family that the kernel lacks.

    `ours` matches the names of one mode's chains in `tables`. Raises KernelError.
    """
    program: dict[Key, Any] = {}
    for family, text in _saved(backend, tables).items():
        for table in _UNREADABLE.findall(text):
            if table in tables and iptables_nft.has_chain(family, table, ours):
                raise _unreadable(family, table)
        found = parse(text, family, ours)
        program.update({key: value for key, value in found.items() if key.table in tables})
    return program


def saved(backend: Backend) -> dict[str, str]:
    """Family -> the whole text of iptables-save."""
    return _saved(backend, None)


def apply(scripts: Mapping[str, str], backend: Backend) -> None:
    """Have iptables-restore carry out `scripts` (family -> text). KernelError names the line that failed."""
    for family, text in scripts.items():
        _restore(family, backend, text)


def check(scripts: Mapping[str, str], backend: Backend) -> None:
    """As `apply`, but nothing is committed (``iptables-restore --test``)."""
    for family, text in scripts.items():
        _restore(family, backend, text, "--test")


def _unreadable(family: str, table: str) -> KernelError:
    where = f"table {iptables_nft.FAMILIES[family]} {table}"
    remedy = f"a rule in it was written with nft; remove it (nft -a list {where})"
    return KernelError(f"iptables-nft-save can't read {where}: {remedy}")


def _tool(family: str, backend: Backend, verb: str) -> str | None:
    return spawn.find(f"{_TOOLS[family]}-{backend}-{verb}")


def _works(family: str, backend: Backend) -> bool:
    tool = _tool(family, backend, "restore")
    if tool is None or (family == "ip6" and not Path("/proc/sys/net/ipv6").exists()):
        return False
    # in a temporary namespace: --test creates a legacy table, which would stay as long as the namespace
    empty = "".join(f"*{table}\nCOMMIT\n" for table in _TABLES)
    command = [tool, "--noflush", "--test", "-w", _LOCK_WAIT]
    done = _elsewhere(command, empty)
    return (_run(command, empty) if done is None else done).code == 0


def _elsewhere(command: list[str], text: str) -> _Result | None:
    """`command` in a temporary network namespace; None without the right to make one (CAP_SYS_ADMIN)."""
    done = _run(["unshare", "--net", *command], text)
    return None if done.error.startswith("unshare:") else done


def _saved(backend: Backend, tables: tuple[str, ...] | None) -> dict[str, str]:
    """Family -> text of iptables-save, where one of `tables` may exist (None: any); families run in parallel.

    The text is that of all tables: a start of the tool takes longer than the other tables do.
    """
    running = [
        (family, tool, _spawn([tool]))
        for family in _TOOLS
        if (tool := _tool(family, backend, "save")) and _exists(family, backend, tables)
    ]
    texts: dict[str, str] = {}
    for family, tool, (process, output) in running:
        _, error = process.communicate()
        text = _read(output)
        if process.returncode == 0:
            texts[family] = text
        elif not _ABSENT.search(error):
            said = error.strip() or f"exit status {process.returncode}"
            raise KernelError(f"{Path(tool).name}: {said}")
    return texts


def _exists(family: str, backend: Backend, tables: tuple[str, ...] | None) -> bool:
    """Whether one of `tables` may exist. Asked of a legacy tool, the kernel would create it."""
    return backend == "nft" or any(tables is None or table in tables for table in _legacy_tables(family))


def _legacy_tables(family: str) -> list[str]:
    """Legacy tables that exist in the calling thread's namespace (/proc/net is the main thread's)."""
    name = "ip_tables_names" if family == "ip4" else "ip6_tables_names"
    try:
        return Path("/proc/thread-self/net", name).read_text().split()
    except OSError:
        return []


def _system_variant() -> Backend:
    """The variant of the plain command: ``iptables v1.8.9 (nf_tables)``."""
    tool = spawn.find("iptables")
    return "legacy" if tool and "legacy" in _run([tool, "--version"]).output else "nft"


def _restore(family: str, backend: Backend, text: str, *options: str) -> None:
    tool = _tool(family, backend, "restore")
    if tool is None:
        raise UnsupportedError(f"{_TOOLS[family]}-{backend}-restore is missing: apt-get install iptables")
    result = _run([tool, "--noflush", "-w", _LOCK_WAIT, *options], text)
    if result.code != 0:
        raise _failure(Path(tool).name, result, text)


def _failure(tool: str, result: _Result, text: str) -> KernelError:
    """The tool's own words without its advice to read a manual, and the line that it means."""
    said = " ".join(
        line.strip()
        for line in result.error.splitlines()
        if line.strip() and not line.startswith(("Try ", "# Warning"))
    )
    if _ABSENT.search(result.error):
        return UnsupportedError(f"{tool}: {said}")
    lines = text.splitlines()
    where = ""
    if (found := _LINE.search(result.error)) and 0 < (number := int(found[1])) <= len(lines):
        line = lines[number - 1]
        table = next((one for one in reversed(lines[:number]) if one.startswith("*")), "")
        where = f" (table {table[1:]} as a whole was refused)" if line == "COMMIT" else f": {line}"
    return KernelError(f"{tool}: {said or f'exit status {result.code}'}{where}")


def _run(command: list[str], text: str = "") -> _Result:
    process, output = _spawn(command, text)
    _, error = process.communicate()
    return _Result(process.returncode, _read(output), error)


def _spawn(command: list[str], text: str = "") -> tuple[subprocess.Popen[str], int]:
    """Start `command` with `text` as its standard input; its output goes to a file in memory, whose
    descriptor is returned.
    """
    script, output = os.memfd_create("kcompile-script"), os.memfd_create("kcompile-output")
    try:
        view = memoryview(text.encode())
        while view:
            view = view[os.write(script, view) :]
        os.lseek(script, 0, os.SEEK_SET)
        process = spawn.popen(
            command,
            stdin=script,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=locks_held(),
        )
    except OSError as e:
        os.close(output)
        raise KernelError(f"{command[0]}: {e.strerror}") from None
    finally:
        os.close(script)
    return process, output


def _read(output: int) -> str:
    with os.fdopen(output, "rb") as stream:
        stream.seek(0)
        return stream.read().decode(errors="replace")

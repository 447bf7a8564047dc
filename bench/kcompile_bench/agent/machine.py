"""Where IPVS is: this kernel, or a machine of the tests' (User-mode Linux, tests/uml), which is slow and has
one processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kcompile import spawn

__all__ = ["in_machine"]

_ROOT = Path(__file__).resolve().parents[3]
_MEMORY = 2560  # MiB
_PATIENCE = 3600  # seconds


def in_machine(module: str, arguments: Sequence[str]) -> int | None:
    """Run `module` with `arguments` in such a machine, unless this kernel has IPVS; returns its exit status.

    None: run it here.
    """
    if Path("/proc/net/ip_vs").exists():
        return None
    command = spawn.python(module, *arguments, path=_ROOT / "bench")
    inside = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(_ROOT), *command]
    options = ("--module", "ip_vs", "--memory", str(_MEMORY), "--time", str(_PATIENCE))
    machine = spawn.python("uml", *options, "--", *spawn.located(inside), path=_ROOT / "tests")
    return spawn.run(machine).returncode

"""Where IPVS is: this kernel, or a machine of the tests' (User-mode Linux, tests/uml), which is slow and has
one processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kcompile import spawn

from ..ipvs import where_ipvs_is

__all__ = ["in_machine"]


def in_machine(module: str, arguments: Sequence[str]) -> int | None:
    """Run `module` with `arguments` in such a machine, unless this kernel has IPVS; returns its exit status.

    None: run it here.
    """
    if Path("/proc/net/ip_vs").exists():
        return None
    return spawn.run(where_ipvs_is(spawn.python(module, *arguments))).returncode

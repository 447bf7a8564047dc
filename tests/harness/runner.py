"""A flow case from its manifests to its verdicts: apply, send packets, delete, look at what is left."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .command import Kcompile, ours
from .ebpf import leftovers, room
from .flowcase import FlowCase
from .lab import Lab
from .verdicts import check_flows

__all__ = ["delete_all", "run_case"]


def run_case(case: FlowCase, mode: str, folder: Path) -> list[str]:
    """Everything that is wrong with kcompile in `mode` under `case`, a message each.

    `folder` is for its files.
    """
    with Lab(case) as lab, room(mode, folder) as options:
        kcompile = Kcompile(mode, lab.topology.node, folder, options)
        try:
            applied = kcompile.apply(case)
            if applied.code:
                return [f"apply: exit {applied.code}: {applied.output.strip()}"]
            if failures := check_flows(lab, case, mode):
                (folder / "rules.txt").write_text(kcompile.rules())
            return failures + delete_all(kcompile)
        finally:
            kcompile.kill()


def delete_all(kcompile: Kcompile, others: Iterable[str] = ()) -> list[str]:
    """Delete what is applied; a message for each thing that is left.

    `others`: modes that the node has had before.
    """
    others = tuple(others)
    deleted = kcompile.delete(every_mode=bool(others))
    if deleted.code:
        return [f"delete: exit {deleted.code}: {deleted.output.strip()}"]
    failures = []
    left: list[str] = []
    for mode in (kcompile.mode, *others):
        left += ours(kcompile.namespace, mode) + leftovers(mode, kcompile.folder)
    if left:
        failures.append(f"delete left behind: {'; '.join(left)}")
    if running := kcompile.settle():
        failures.append(f"delete left processes running: {running}")
    return failures

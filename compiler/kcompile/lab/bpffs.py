"""The bpffs of a lab, in which the nodes pin the maps and programs of mode xdp; the machine's own stays
empty.
"""

from __future__ import annotations

from pathlib import Path

from ..kernel.bpf import pins

__all__ = ["folder", "mount", "unmount"]


def folder(lab: Path) -> Path:
    """The folder for KCOMPILE_BPF_DIR, for the lab with the folder `lab`."""
    return lab / "bpf"


def mount(lab: Path) -> None:
    """Mount it, unless it is. Raises KernelError."""
    place = folder(lab)
    place.mkdir(parents=True, exist_ok=True)
    if not place.is_mount():
        pins.mount(place)


def unmount(lab: Path) -> None:
    """Unmount it, where it is; the maps and programs go with it."""
    if folder(lab).is_mount():
        pins.unmount(folder(lab))

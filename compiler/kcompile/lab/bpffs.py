"""The bpffs in which a lab's nodes pin what mode xdp makes: one of the lab's own, so that the machine's has
nothing of it.
"""

from __future__ import annotations

from pathlib import Path

from ..kernel.bpf import pins

__all__ = ["folder", "mount", "unmount"]


def folder(lab: Path) -> Path:
    """Where it is, for the lab with the folder `lab`: what KCOMPILE_BPF_DIR has to say."""
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

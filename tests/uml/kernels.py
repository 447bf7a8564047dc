"""The two kinds of machine: which program, with which arguments, boots `init` over a request folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from . import generic, xstate

__all__ = ["KINDS", "TERMINALS", "MachineError", "bootable"]

INIT = Path(__file__).resolve().parent / "init"
UML_MODULES = Path("/usr/lib/uml/modules")
_SLOW_AT_BOOT = "raid6_select_algo,init_btrfs_fs,init_zswap,zswap_init"  # a second of nothing useful here

TERMINALS = {"uml": "/dev/tty1", "tcg": "/dev/ttyS3"}
"""What a machine's inside calls the terminal that it was started on."""


class MachineError(Exception):
    """A machine can't be started here, or ended without saying how its command did."""


def uml(
    folder: Path,
    writable: Sequence[Path],  # noqa: ARG001
    memory: int,
    output: Sequence[int],
    terminal: bool,
) -> list[str]:
    """User-mode Linux. Serial line n goes to host file descriptor ``output[n]``, the kernel log to stderr."""
    program = shutil.which("linux.uml") or shutil.which("linux")
    if not program or not UML_MODULES.is_dir():
        raise MachineError("there is no User-mode Linux here: apt-get install user-mode-linux")
    release = max(path.name for path in UML_MODULES.iterdir())
    lines = [f"ssl{number}=null,fd:{fd}" for number, fd in enumerate(output)]
    try:
        preload = xstate.build(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or error
        raise MachineError(
            f"User-mode Linux needs a preload library on this processor, and cc can't build it: {said}"
        ) from error
    return [
        *preload,
        *_temporary_memory(memory),
        program,
        *(
            "umid=machine",
            f"uml_dir={folder}/",
            f"mem={memory}M",
            "noreboot",
            "quiet",
            "loglevel=4",
            "lpj=16715776",
        ),
        *("root=/dev/root", "rootfstype=hostfs", "ro", f"init={INIT}", f"initcall_blacklist={_SLOW_AT_BOOT}"),
        *(f"machine_request={folder}", f"machine_modules={UML_MODULES / release}", "machine_files=hostfs"),
        *("con=null", "con0=null,fd:2", "ssl=null", *lines, *(["con1=fd:0,fd:1"] if terminal else [])),
    ]


def _temporary_memory(memory: int) -> list[str]:
    """User-mode Linux keeps its memory, which it executes too, in a file in /dev/shm; where that is small or
    noexec, as containers have it, in /tmp.
    """
    try:
        free = os.statvfs("/dev/shm")
    except OSError:
        return []
    fits = free.f_bavail * free.f_frsize >= memory << 20 and not free.f_flag & os.ST_NOEXEC
    return [] if fits else ["env", "TMPDIR=/tmp"]


def tcg(
    folder: Path, writable: Sequence[Path], memory: int, output: Sequence[int], terminal: bool
) -> list[str]:
    """Qemu, emulating; never KVM, so that it is the same everywhere."""
    program = shutil.which("qemu-system-x86_64")
    if not program:
        raise MachineError("there is no qemu here: apt-get install qemu-system-x86")
    try:
        image, modules = generic.find()
        generic.write_initrd(folder / "initrd", modules, INIT)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MachineError(f"no Debian kernel for qemu: {error}") from error
    shares = [("root", Path("/"), ",readonly=on"), ("request", folder, "")]
    shares += [(f"write{number}", path, "") for number, path in enumerate(writable)]
    devices = []
    for tag, path, options in shares:
        devices += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{options}"]
        devices += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    files = [*(f"/proc/self/fd/{fd}" for fd in output), str(folder / "log")]
    lines = [f"file,id=line{number},path={file}" for number, file in enumerate(files)]
    if terminal:
        lines.append(f"stdio,id=line{len(lines)},signal=off")
    for number, line in enumerate(lines):
        devices += ["-chardev", line, "-serial", f"chardev:line{number}"]
    append = (
        "quiet loglevel=4 console=ttyS2 panic=-1 reboot=t mitigations=off tsc=reliable no_timer_check "
        "initcall_blacklist=raid6_select_algo"
    )
    return [
        *(program, "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", str(memory)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-no-reboot"),
        *("-kernel", str(image), "-initrd", str(folder / "initrd")),
        *("-append", f"{append} machine_request={folder} machine_modules={modules} machine_files=9p"),
        *devices,
    ]


KINDS: dict[str, Callable[[Path, Sequence[Path], int, Sequence[int], bool], list[str]]] = {
    "uml": uml,
    "tcg": tcg,
}
"""Name -> the command line that starts such a machine."""


def bootable(kind: str) -> tuple[str, str]:
    """The kind of machine that boots here where `kind` was asked for, and why it is another one (empty where
    it is the same).
    """
    if kind == "uml" and (reason := xstate.trouble()):
        return "tcg", reason
    return kind, ""

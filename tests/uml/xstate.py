"""Which processors User-mode Linux needs the preload library `xstate.c` on, and the library itself."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

__all__ = ["build", "trouble"]

# now: a process that gives up its rights may not read it later
_SOURCE = Path(__file__).with_name("xstate.c").read_text()
_AT_MINSIGSTKSZ = 51  # linux/auxvec.h: bytes of the largest signal frame, which holds the XSAVE area
_UML_AREA = 2696  # FP_SIZE in User-mode Linux 6.1: bytes of the XSAVE area that it keeps for a process
_REST_OF_FRAME = 1024  # at most: ucontext, siginfo and alignment take 944 bytes of a frame


def signal_frame() -> int:
    """Bytes that the kernel may need for a signal frame here, 0 where it doesn't say.

    (/proc/self/auxv is closed to one that was root.)
    """
    ask = ctypes.CDLL(None).getauxval
    ask.restype = ctypes.c_ulong
    return int(ask(ctypes.c_ulong(_AT_MINSIGSTKSZ)))


def needed() -> bool:
    """Whether this processor's XSAVE area is larger than User-mode Linux's."""
    return signal_frame() > _UML_AREA + _REST_OF_FRAME


def trouble() -> str:
    """Why User-mode Linux can't boot on this processor; empty where it can."""
    if needed() and not shutil.which("cc"):
        return (
            "User-mode Linux needs a preload library on this processor, and there is no cc to build it: "
            "apt-get install gcc libc6-dev"
        )
    return ""


def build(folder: Path) -> list[str]:
    """The words before a command of User-mode Linux, which preload the library built into `folder`; none
    where it isn't needed.

    Raises CalledProcessError, with the compiler's words in `stderr`, and FileNotFoundError without one.
    """
    if not needed():
        return []
    library = folder / "xstate.so"
    command = ["cc", "-O2", "-Wall", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(command, input=_SOURCE, check=True, capture_output=True, text=True)
    return ["env", f"LD_PRELOAD={library}"]

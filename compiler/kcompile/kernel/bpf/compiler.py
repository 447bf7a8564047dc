"""Compiles C to eBPF instructions with bcc, in a process of its own.

Run as a program, this module reads a `Job` and writes a `Result`, as MessagePack. bcc needs its own process:
it takes settings from the environment, changes the current directory, prints clang's messages, and keeps 100
MB of clang in memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import msgspec

from ... import spawn
from ...errors import KernelError, UnsupportedError

__all__ = ["DEBIAN", "Job", "bcc", "run"]

DEBIAN = Path("/usr/lib/python3/dist-packages/bcc/__init__.py")
_INSTALL = (
    "this installation carries no compiled eBPF programs of its sources, and bcc, which compiles them, "
    "is not installed (apt-get install python3-bpfcc)"
)


class Job(msgspec.Struct):
    text: str
    flags: list[str]
    stubs: str


class Result(msgspec.Struct):
    """Function -> its instructions, 8 bytes each. Maps are numbers in them (bpf/maps.h)."""

    functions: dict[str, bytes]


def bcc() -> ModuleType:
    """Debian's module bcc, which isn't on the path of a virtual environment (PyPI's bcc is another program).

    Raises UnsupportedError where it can't be loaded.
    """
    import importlib.util

    if "bcc" in sys.modules and hasattr(sys.modules["bcc"], "BPF"):
        return sys.modules["bcc"]
    spec = importlib.util.spec_from_file_location(
        "bcc", DEBIAN, submodule_search_locations=[str(DEBIAN.parent)]
    )
    if spec is None or spec.loader is None or not DEBIAN.exists():
        raise UnsupportedError(_INSTALL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError) as e:
        del sys.modules["bcc"]
        raise UnsupportedError(f"bcc can't be loaded: {e}") from e
    return module


def run(job: Job) -> Result:
    """Compile in a child process. Raises KernelError with clang's messages, UnsupportedError without bcc."""
    # else bcc needs the headers of the running kernel, which few nodes have
    environment = {"BCC_KERNEL_SOURCE": job.stubs}
    # with this process's msgspec, which pip keeps in a folder of its own when it builds a wheel
    command = spawn.python("kcompile.kernel.bpf.compiler", path=Path(msgspec.__file__).parents[1])
    child = spawn.run(command, input=msgspec.msgpack.encode(job), capture_output=True, env=environment)
    if child.returncode == UnsupportedError.exit_code + 2:
        raise UnsupportedError(child.stderr.decode(errors="replace").strip())
    if child.returncode:
        said = [line for line in child.stderr.decode(errors="replace").splitlines() if line.strip()]
        raise KernelError(f"compiling the eBPF programs failed: {' | '.join(said[:12])}")
    return msgspec.msgpack.decode(child.stdout, type=Result)


def _main() -> None:
    import os

    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Job)
    answer = os.dup(1)
    os.dup2(2, 1)  # what bcc prints must not get into the answer
    try:
        module = bcc()
    except UnsupportedError as e:
        sys.stderr.write(str(e))
        raise SystemExit(UnsupportedError.exit_code + 2) from None
    compiled = module.BPF(text=job.text, cflags=job.flags)
    names = [
        module.lib.bpf_function_name(compiled.module, i)
        for i in range(module.lib.bpf_num_functions(compiled.module))
    ]
    result = Result({name.decode(): compiled.dump_func(name) for name in names})
    with os.fdopen(answer, "wb") as out:
        out.write(msgspec.msgpack.encode(result))


if __name__ == "__main__":
    _main()

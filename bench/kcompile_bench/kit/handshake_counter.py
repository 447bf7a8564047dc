"""Counts handshakes in the kernel, for handshake.py: a program of its own, since bcc belongs to the system's
Python, not to a venv.

Prints ``{}`` once it counts, then for every line on stdin what it has counted since the last: ``[[bucket,
count], ...]``, in histogram.py's buckets. Ends with stdin. It has a mount namespace of its own, so that it
may mount tracefs where nobody has.
"""

import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path

HALF = 128
BUCKETS = 42 * HALF

PROGRAM = """
#define SYN_SENT 2
#define ESTABLISHED 1
BPF_HASH(started, u64, u64, 4096);
BPF_HASH(times, u32, u64, BUCKETS);

TRACEPOINT_PROBE(sock, inet_sock_set_state)
{
    u64 now = bpf_ktime_get_ns(), sock = (u64)args->skaddr;
    if (args->newstate == SYN_SENT) {
        char name[16] = {};
        bpf_get_current_comm(&name, sizeof(name));
        if (name[0] == 'd' && name[1] == 'r' && name[2] == 'i' && name[3] == 'v' && name[4] == 'e')
            started.update(&sock, &now);
        return 0;
    }
    u64 *start = started.lookup(&sock);
    if (!start)
        return 0;
    u64 took = now - *start;
    started.delete(&sock);
    if (args->newstate != ESTABLISHED)
        return 0;
    u32 shift = 0;
#pragma unroll
    for (int i = 0; i < 40; i++)
        if (took >> shift >= 2 * HALF)
            shift++;
    u32 index = shift * HALF + (u32)(took >> shift);
    times.increment(index);
    return 0;
}
"""

KCONFIG = """#define CONFIG_BPF_SYSCALL 1
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;
typedef unsigned long size_t, uintptr_t;
typedef _Bool bool;
struct pt_regs;
"""
HEADERS = {
    **dict.fromkeys(("generated/autoconf.h", "linux/log2.h", "asm/page.h"), ""),
    **{f"uapi/linux/{name}.h": "" for name in ("bpf", "if_packet", "if_ether", "ptrace")},
    "linux/kconfig.h": KCONFIG,
}
"""What bcc's own helpers include of a kernel's source tree, and all that they need of it."""

TRACEFS = Path("/sys/kernel/tracing")
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def see_tracepoints() -> None:
    """Mount tracefs for this process alone, unless it is there."""
    if (TRACEFS / "events").exists() or not TRACEFS.exists():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.unshare(CLONE_NEWNS)
        or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        or libc.mount(b"tracefs", bytes(TRACEFS), b"tracefs", 0, None)
    ):
        raise OSError(ctypes.get_errno(), "tracefs can't be mounted")


def load(headers: Path):
    """The program, attached.

    Where the running kernel has no headers installed, `headers` becomes a folder of what bcc needs of them.
    """
    from bcc import BPF

    flags = []
    if (
        not Path("/lib/modules", os.uname().release, "build").exists()
        and "BCC_KERNEL_SOURCE" not in os.environ
    ):
        for name, text in HEADERS.items():
            path = headers / "include" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        os.environ["BCC_KERNEL_SOURCE"] = str(headers)
        flags = ["-I/usr/include", f"-I/usr/include/{os.uname().machine}-linux-gnu"]
    return BPF(text=PROGRAM.replace("BUCKETS", str(BUCKETS)).replace("HALF", str(HALF)), cflags=flags)


def main() -> None:
    see_tracepoints()
    with tempfile.TemporaryDirectory(prefix="kcbench-") as folder:
        program = load(Path(folder))
    times = program["times"]
    print("{}", flush=True)
    for _ in sys.stdin:
        found = [[index.value, count.value] for index, count in times.items() if count.value]
        times.clear()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()

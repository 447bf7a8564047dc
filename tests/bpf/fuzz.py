"""Random and truncated packets through every program: none may crash the kernel, get a verdict that there
isn't, or be passed on changed.

``python -m bpf.fuzz [COUNT [SEED]]`` (``make fuzz-xdp``) runs COUNT packets, a million by default, in a
namespace of its own.
"""

from __future__ import annotations

import random
import secrets
import struct
import sys
import time
from collections import Counter

from harness import netns
from kcompile.kernel.bpf import testrun
from kcompile.targets.xdp.layout import CONSTANTS as C

from .frames import address, frame
from .world import ETH0, NEAR, World, make

__all__ = ["fuzz"]

_LINES = (
    "tcp near:{p} > web:80 S", "tcp near:{p} > api:80 A", "udp near:{p} > api:80",
    "udp client:{p} > node:30080",
    "tcp client:{p} > open:80 S", "tcp near:{p} > empty:80 S", "udp near:{p} > empty:80",
    "udp near:{p} > closed:80",
    "udp stranger:{p} > ranged:80", "echo near > web", "tcp far:8080 > near:{p} A", "udp far:8080 > node:{p}",
    "udp near:{p} > free:80",
    "udp near:{p} > sticky:80", "tcp near:{p} > far:8080 S", "tcp near:{p} > api:80 FA",
    "tcp far:8080 > near:{p} RA",
    "sctp near:{p} > web:80 S", "sctp client:{p} > node:30080 P", "sctp far:8080 > near:{p} FA",
    "sctp near:{p} > empty:80 S",
    "udp node:{p} > api:80", "unreachable far > node about udp node:{p} > far:8080",
    "toobig gateway > near about tcp near:{p} > far:8080 S",
)  # fmt: skip
_ALLOWED = {"ingress": {-1, 2, 7}, "egress": {-1, 2, 7}, "xdp": {1, 2, 3, 4}}
_PASS = {"ingress": -1, "egress": -1, "xdp": 2}
_TRANSLATED = 0x02 | 0x10  # FLOW_TO_STACK, FLOW_DIRECT: what goes up rewritten
_PORTS = 16
_Key = tuple[bytes, bytes, bytes, bytes, int]


def _mutated(chance: random.Random, seed: bytes) -> bytes:
    """A packet near `seed`: whole, cut, with bytes or bits changed, or noise."""
    kind = chance.random()
    if kind < 0.1:
        return seed
    data = bytearray(seed)
    if kind > 0.95:
        return seed[:14] + chance.randbytes(chance.randrange(1, 200))
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if chance.random() < 0.3:  # the headers are where it matters
        at = chance.randrange(12, min(len(data), 80))
        data[at] ^= 1 << chance.randrange(8)
    if chance.random() < 0.4:
        del data[chance.randrange(14, len(data) + 1) :]
    return bytes(data)


def fuzz(world: World, count: int, seed: int) -> dict[str, Counter[str]]:
    """Run `count` packets; how many got which verdict.

    Raises AssertionError with the packet that got a wrong one.
    """
    chance = random.Random(seed)
    seeds = [
        frame(line.format(p=4000 + i), version)
        for line in _LINES
        for version in (4, 6)
        for i in range(_PORTS)
    ]
    seen: dict[str, Counter[str]] = {name: Counter() for name in _ALLOWED}
    with netns.enter(world.namespace):
        runners = []
        for name, interface in (("ingress", NEAR), ("ingress", ETH0), ("egress", ETH0), ("xdp", ETH0)):
            context = bytearray(192 if name != "xdp" else 24)
            if name != "xdp":
                struct.pack_into("=I", context, 40, interface)
            # a frame's context has to say how long the frame is, so XDP runs on lo, whose frames need none
            runners.append(
                (name, testrun.Runner(world.programs[name], bytes(context) if name != "xdp" else b""))
            )
        for number in range(count):
            if number % 50_000 == 0:
                world.clear()
            name, runner = runners[number & 3]
            data = _mutated(chance, chance.choice(seeds))
            try:
                verdict, after = runner.run(data)
            except OSError as error:  # fewer bytes than an Ethernet header
                if len(data) > 14 + 40:
                    raise AssertionError(f"{name}: {error}: {data.hex()}") from error
                seen[name]["refused"] += 1
                continue
            verdict = verdict - (1 << 32) if verdict >> 31 else verdict
            assert verdict in _ALLOWED[name], f"{name}: verdict {verdict}: {data.hex()}"
            assert verdict != _PASS[name] or after == data or _translated(world, name, data, after), (
                f"{name}: passed changed: {data.hex()} -> {after.hex()}"
            )
            seen[name][str(verdict)] += 1
    return seen


def _translated(world: World, program: str, data: bytes, after: bytes) -> bool:
    """Whether it goes on changed for a reason: its flow ends at the node or nowhere, or only its source
    changed; or it is an error.
    """
    version = data[14] >> 4
    if data[20] == 44 if version == 6 else data[20] & 0x3F or data[21]:
        return True  # a fragment, whose ports came in another one
    if data[23 if version == 4 else 20] in (1, 58):
        return program == "egress"
    key = _key(version, data)
    entry = world.get(f"flows{version}", key)
    if entry is None:
        return _is_opening(world, version, key, _key(version, after))
    return entry[6] & _TRANSLATED != 0 or entry[1] in (key[1], address("lost", version))


def _key(version: int, data: bytes) -> _Key:
    if version == 4:
        return data[26:30], data[30:34], data[34:36], data[36:38], data[23]
    return data[22:38], data[38:54], data[54:56], data[56:58], data[20]


def _is_opening(world: World, version: int, key: _Key, became: _Key) -> bool:
    """Whether a connection to a backend that is the node, or nowhere, has the reply's entry only, as yet."""
    reply = world.get(f"flows{version}", (became[1], became[0], became[3], became[2], became[4]))
    places = {address(place, version) for place in ("node", "lost")}
    return (
        reply is not None
        and reply[:4] == (key[1], key[0], key[3], key[2])
        and reply[6] & C["FLOW_OPENING"] != 0
        and became[1] in places
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbits(32)
    print(f"{count} packets, seed {seed}")
    with make() as world:
        start = time.monotonic()
        for name, verdicts in fuzz(world, count, seed).items():
            print(
                f"{name:8} "
                + ", ".join(f"{verdict}: {number}" for verdict, number in sorted(verdicts.items()))
            )
        print(f"no fault; {(time.monotonic() - start) / count * 1e6:.1f} us a packet")


if __name__ == "__main__":
    main()

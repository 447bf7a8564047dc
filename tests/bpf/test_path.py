"""Packet in, verdict, packet out: stories of a few packets each, told for both families (frames.py has the
notation, world.py the node).
"""

from __future__ import annotations

import pytest

from .world import World

pytestmark = pytest.mark.kernel

# Each step: where a packet is, and what becomes of it. "pass" alone: left as it is.
STORIES: dict[str, list[tuple[str, str]]] = {
    "a pod reaches a pod of this node": [
        ("ingress near2: tcp near2:4000 > web:80 S", "redirect: tcp near2:4000 > near:8080 S ttl=63"),
        ("ingress near: tcp near:8080 > near2:4000 SA", "redirect: tcp web:80 > near2:4000 SA ttl=63"),
        ("ingress near2: tcp near2:4000 > web:80 A", "redirect: tcp near2:4000 > near:8080 A ttl=63"),
    ],
    "a pod reaches a pod of another node": [
        ("ingress near: tcp near:4000 > api:80 S", "redirect: tcp near:4000 > far:8080 S ttl=63"),
        ("ingress eth0: tcp far:8080 > near:4000 SA", "redirect: tcp api:80 > near:4000 SA ttl=63"),
    ],
    "a pod reaches itself, masqueraded": [
        ("ingress near: tcp near:4000 > web:80 S", "redirect: tcp pods:4000 > near:8080 S ttl=63"),
        ("ingress near: tcp near:8080 > pods:4000 SA", "redirect: tcp web:80 > near:4000 SA ttl=63"),
    ],
    "an outsider is masqueraded": [
        ("ingress eth0: udp client:4000 > api:80", "redirect: udp node:4000 > far:8080 ttl=63"),
        ("ingress eth0: udp far:8080 > node:4000", "redirect: udp api:80 > client:4000 ttl=63"),
    ],
    "an outsider keeps its address where the policy says so": [
        ("ingress eth0: udp client:4000 > open:80", "redirect: udp client:4000 > far:8080 ttl=63"),
        ("ingress eth0: udp far:8080 > client:4000", "redirect: udp open:80 > client:4000 ttl=63"),
    ],
    "a NodePort": [
        ("ingress eth0: tcp client:4000 > node:30080 S", "redirect: tcp node:4000 > far:8080 S ttl=63"),
        ("ingress eth0: tcp far:8080 > node:4000 SA", "redirect: tcp node:30080 > client:4000 SA ttl=63"),
        ("ingress eth0: tcp client:4000 > gateway:30080 S", "pass"),
        ("ingress eth0: tcp client:4000 > node:22 S", "pass"),
    ],
    "a process of the node serves: its packets go up": [
        ("ingress eth0: tcp client:4000 > host:80 S", "pass: tcp client:4000 > node:9000 S"),
        ("egress eth0: tcp node:9000 > client:4000 SA", "pass: tcp host:80 > client:4000 SA"),
    ],
    "the node reaches a pod of another node": [
        ("egress eth0: udp node:4000 > api:80", "redirect: udp node:4000 > far:8080"),
        ("ingress eth0: udp far:8080 > node:4000", "redirect: udp api:80 > node:4000"),  # home, by lo
    ],
    "the node reaches a pod of its own": [
        ("egress eth0: udp node:4000 > web:80", "redirect: udp pods:4000 > near:8080"),
        ("ingress near: udp near:8080 > pods:4000", "redirect: udp web:80 > node:4000"),
    ],
    "the node reaches itself": [
        ("egress eth0: tcp node:4000 > host:80 S", "redirect: tcp node:4000 > node:9000 S"),
        ("egress lo: tcp node:9000 > node:4000 SA", "pass: tcp host:80 > node:4000 SA"),
        ("egress lo: tcp node:4001 > node:30080 S", "redirect: tcp node:4001 > far:8080 S"),
    ],
    "an SCTP association, from its beginning to its end": [
        ("ingress eth0: sctp client:4000 > node:30080 S", "redirect: sctp node:4000 > far:8080 S ttl=63"),
        ("ingress eth0: sctp far:8080 > node:4000 SA", "redirect: sctp node:30080 > client:4000 SA ttl=63"),
        ("ingress eth0: sctp client:4000 > node:30080 A", "redirect: sctp node:4000 > far:8080 A ttl=63"),
        ("ingress eth0: sctp far:8080 > node:4000 P", "redirect: sctp node:30080 > client:4000 P ttl=63"),
        ("xdp eth0: sctp client:4000 > node:30080 P", "transmit: sctp node:4000 > far:8080 P ttl=63"),
        ("ingress eth0: sctp client:4000 > node:30080 F", "redirect: sctp node:4000 > far:8080 F ttl=63"),
        ("ingress eth0: sctp far:8080 > node:4000 FA", "redirect: sctp node:30080 > client:4000 FA ttl=63"),
        ("ingress eth0: sctp client:4000 > node:30080 FR", "redirect: sctp node:4000 > far:8080 FR ttl=63"),
        ("ingress eth0: sctp client:4001 > node:30080 P", "pass"),
    ],
    "SCTP of a pod, and of the node": [
        ("ingress near2: sctp near2:4000 > web:80 S", "redirect: sctp near2:4000 > near:8080 S ttl=63"),
        ("ingress near: sctp near:8080 > near2:4000 SA", "redirect: sctp web:80 > near2:4000 SA ttl=63"),
        ("egress eth0: sctp node:4000 > api:80 S", "redirect: sctp node:4000 > far:8080 S"),
        ("ingress eth0: sctp far:8080 > node:4000 SA", "redirect: sctp api:80 > node:4000 SA"),
        ("ingress eth0: sctp client:4000 > host:80 S", "pass: sctp client:4000 > node:9000 S"),
        ("egress eth0: sctp node:9000 > client:4000 SA", "pass: sctp host:80 > client:4000 SA"),
    ],
    "ICMP errors about SCTP": [
        ("ingress eth0: sctp client:4000 > api:80 S", "redirect: sctp node:4000 > far:8080 S ttl=63"),
        (
            "ingress eth0: unreachable far > node about sctp node:4000 > far:8080 S",
            "redirect: unreachable api > client ttl=63 about sctp client:4000 > api:80",
        ),
        (
            "ingress near: sctp near:4000 > empty:80 S",
            "redirect: unreachable empty > near about sctp near:4000 > empty:80",
        ),
    ],
    "no endpoints": [
        (
            "ingress near: tcp near:4000 > empty:80 S",
            "redirect: unreachable empty > near about tcp near:4000 > empty:80 S",
        ),
        (
            "ingress near: udp near:4000 > empty:80",
            "redirect: unreachable empty > near about udp near:4000 > empty:80",
        ),
        (
            "egress eth0: tcp node:4000 > empty:80 S",
            "redirect: unreachable empty > node about tcp node:4000 > empty:80 S",
        ),
        (
            "egress eth0: udp node:4000 > empty:80",
            "redirect: unreachable empty > node about udp node:4000 > empty:80",
        ),
        (
            "ingress eth0: tcp client:4000 > node:30081 S",
            "redirect: unreachable node > client about tcp client:4000 > node:30081 S",
        ),
        ("ingress near: tcp near:4000 > empty:80 R", "pass"),
    ],
    "packets in the middle of connections that began before": [
        ("ingress near: tcp near:4000 > api:80 A", "pass"),
        ("ingress near: tcp near:4000 > empty:80 PA", "pass"),
        ("ingress eth0: tcp far:8080 > near:4000 SA", "pass"),
        ("egress eth0: tcp node:4000 > api:80 FA", "pass"),
        ("xdp eth0: tcp client:4000 > open:80 R", "pass"),
    ],
    "refused by policy": [
        ("ingress near: tcp near:4000 > closed:80 S", "drop"),
        ("ingress eth0: tcp client:4000 > ranged:80 S", "redirect: tcp node:4000 > far:8080 S ttl=63"),
        ("ingress eth0: tcp stranger:4000 > ranged:80 S", "drop"),
    ],
    "addresses of Services without that port, or of nobody": [
        (
            "ingress near: tcp near:4000 > web:81 S",
            "redirect: unreachable web > near about tcp near:4000 > web:81 S",
        ),
        (
            "ingress near: udp near:4000 > web:81",
            "redirect: unreachable web > near about udp near:4000 > web:81",
        ),
        ("ingress near: echo near > web", "redirect: unreachable web > near about echo near > web"),
        ("ingress near: tcp near:4000 > free:80 S", "drop"),
        ("egress eth0: udp node:4000 > free:80", "drop"),
        ("ingress near: echo near > far", "pass"),
    ],
    "errors come back translated: from the backend": [
        ("ingress eth0: udp client:4000 > api:80", "redirect: udp node:4000 > far:8080 ttl=63"),
        (
            "ingress eth0: unreachable far > node about udp node:4000 > far:8080",
            "redirect: unreachable api > client ttl=63 about udp client:4000 > api:80",
        ),
    ],
    "errors come back translated: from a router": [
        ("ingress near: tcp near:4000 > api:80 S", "redirect: tcp near:4000 > far:8080 S ttl=63"),
        (
            "ingress eth0: toobig gateway > near about udp near:4000 > far:8080",
            "pass",  # another protocol
        ),
        ("ingress near: udp near:4000 > api:80", "redirect: udp near:4000 > far:8080 ttl=63"),
        (
            "ingress eth0: toobig gateway > near about udp near:4000 > far:8080",
            "redirect: toobig gateway > near ttl=63 about udp near:4000 > api:80",
        ),
    ],
    "errors come back translated: about answers, to the backend": [
        ("ingress eth0: udp client:4000 > api:80", "redirect: udp node:4000 > far:8080 ttl=63"),
        ("ingress eth0: udp far:8080 > node:4000", "redirect: udp api:80 > client:4000 ttl=63"),
        (
            "ingress eth0: unreachable client > api about udp api:80 > client:4000",
            "redirect: unreachable node > far ttl=63 about udp far:8080 > node:4000",
        ),
    ],
    "errors come back translated: to the node": [
        ("egress eth0: udp node:4000 > api:80", "redirect: udp node:4000 > far:8080"),
        (
            "ingress eth0: unreachable far > node about udp node:4000 > far:8080",
            "redirect: unreachable api > node about udp node:4000 > api:80",
        ),
    ],
    "errors of the node's own": [
        ("ingress eth0: udp client:4000 > host:80", "pass: udp client:4000 > node:9000"),
        (
            "egress eth0: unreachable node > client about udp client:4000 > node:9000",
            "pass: unreachable host > client about udp client:4000 > host:80",
        ),
    ],
    "answers to what the node sends from a NodePort are its own": [
        ("egress eth0: udp node:30080 > client:443", "pass"),
        ("ingress eth0: udp client:443 > node:30080", "pass"),
        ("xdp eth0: udp client:443 > node:30080", "pass"),
        ("egress eth0: udp node:30080 > client:443", "pass"),
        ("ingress eth0: udp client:444 > node:30080", "redirect: udp node:444 > far:8080 ttl=63"),
        ("ingress eth0: udp far:8080 > node:444", "redirect: udp node:30080 > client:444 ttl=63"),
    ],
    "what the node sends later to a client of the NodePort doesn't take its answers away": [
        ("ingress eth0: udp client:443 > node:30080", "redirect: udp node:443 > far:8080 ttl=63"),
        ("egress eth0: udp node:30080 > client:443", "pass"),
        ("ingress eth0: udp client:443 > node:30080", "redirect: udp node:443 > far:8080 ttl=63"),
    ],
    "what runs out of hops is the stack's": [
        ("ingress near: udp near:4000 > api:80 ttl=1", "pass"),
        ("ingress near: udp near:4000 > api:80 ttl=2", "redirect: udp near:4000 > far:8080 ttl=1"),
    ],
    "no way there": [
        ("ingress eth0: udp client:4000 > stale:80", "drop"),
        ("ingress near: udp near:4000 > stale:80", "pass: udp near:4000 > lost:8080"),
    ],
    "XDP sends what goes to other nodes": [
        ("xdp eth0: tcp client:4000 > node:30080 S", "transmit: tcp node:4000 > far:8080 S ttl=63"),
        ("xdp eth0: tcp far:8080 > node:4000 SA", "transmit: tcp node:30080 > client:4000 SA ttl=63"),
        ("xdp eth0: udp client:4000 > open:80", "transmit: udp client:4000 > far:8080 ttl=63"),
    ],
    "XDP leaves the rest to tc": [
        ("xdp eth0: udp client:4000 > web:80", "pass"),
        ("xdp eth0: tcp client:4000 > host:80 S", "pass"),
        ("xdp eth0: tcp client:4000 > empty:80 S", "pass"),
        ("xdp eth0: tcp client:4000 > closed:80 S", "pass"),
        ("xdp eth0: tcp stranger:4000 > ranged:80 S", "pass"),
        ("xdp eth0: tcp client:4000 > node:22 S", "pass"),
        ("xdp eth0: echo client > node", "pass"),
        ("xdp eth0: udp client:4001 > open:80 ttl=1", "pass"),
        ("xdp eth0: unreachable far > node about udp node:4000 > far:8080", "pass"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("story", STORIES)
def test_story(world: World, story: str, version: int):
    told = [(step, world.says(step, version)) for step, _ in STORIES[story]]
    assert told == STORIES[story]

"""kube-proxy's rule shapes, loaded by the tools that it uses, in the same run. Needs root."""

import itertools

import pytest

from kcompile_bench.shapes import PEERS

pytestmark = pytest.mark.kernel


def test_peer_cold(measure, scale, peer, fresh):
    shape = PEERS[peer]
    text = shape.cold(scale)
    measure(
        "peer cold",
        lambda: shape.load(text),
        mode=peer,
        setup=fresh,
        rounds=3 if scale.services <= 1000 else 1,
    )


def test_peer_change(measure, scale, peer, fresh):
    shape, service = PEERS[peer], scale.services // 2
    pods = scale.pods(service)
    states = (pods, pods[:-1])
    fresh()
    shape.load(shape.cold(scale))
    texts = itertools.cycle([shape.change(scale, service, old, new) for old, new in (states, states[::-1])])
    measure("peer change", lambda: shape.load(next(texts)), mode=peer, rounds=6)

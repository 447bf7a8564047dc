"""Endpoint selection and topology (pkg/proxy/topology.go), as tables."""

import pytest

from kcompile.ir.model import Endpoint
from kcompile.passes.endpoints import usable
from kcompile.passes.topology import prefer_close


def ep(ip: str, **kwargs) -> Endpoint:
    return Endpoint(ip, 8080, **kwargs)


READY = ep("10.0.0.1")
DRAINING = ep("10.0.0.2", ready=False, terminating=True)
DEAD = ep("10.0.0.3", ready=False, serving=False, terminating=True)
NOT_READY = ep("10.0.0.4", ready=False, serving=False)
SERVING_NOT_READY = ep("10.0.0.5", ready=False, serving=True)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([], []),
        ([READY, DRAINING], [READY]),
        ([DRAINING, DEAD], [DRAINING]),
        ([DEAD, NOT_READY], []),
        ([SERVING_NOT_READY], []),
        ([READY, NOT_READY], [READY]),
    ],
    ids=["none", "ready-wins", "draining-serve", "dead", "serving-but-not-terminating", "one-ready"],
)
def test_usable(given, wanted):
    assert list(usable(given)) == wanted


def zoned(ip: str, *zones: str, nodes: tuple[str, ...] = ()) -> Endpoint:
    return ep(ip, zone_hints=zones, node_hints=nodes)


A, B, PLAIN = zoned("10.0.0.1", "a"), zoned("10.0.0.2", "b"), ep("10.0.0.3")
ON_ONE = zoned("10.0.0.4", "b", nodes=("n1",))
ON_TWO = zoned("10.0.0.5", "a", nodes=("n2",))


@pytest.mark.parametrize(
    ("given", "node", "zone", "wanted"),
    [
        ([A, B], "n1", "a", [A]),
        ([A, B], "n1", "c", [A, B]),
        ([A, B], "n1", "", [A, B]),
        ([A, PLAIN], "n1", "a", [A, PLAIN]),
        ([ON_ONE, ON_TWO], "n1", "a", [ON_ONE]),
        ([ON_ONE, ON_TWO], "n3", "a", [ON_TWO]),
        ([ON_ONE, A], "n1", "a", [A]),
        ([], "n1", "a", []),
    ],
    ids=[
        "zone",
        "other-zone",
        "no-zone",
        "one-unhinted",
        "node-first",
        "node-absent-falls-to-zone",
        "not-all-node-hints",
        "none",
    ],
)
def test_prefer_close(given, node, zone, wanted):
    assert list(prefer_close(given, node, zone)) == wanted

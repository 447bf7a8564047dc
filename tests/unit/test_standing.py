"""What a mode keeps on a node for open connections when the last Service of an IP version goes."""

import random

import msgspec
import pytest

from harness.random_dataplanes import random_dataplane
from kcompile.ir.model import Dataplane
from kcompile.targets.base import Target
from kcompile.targets.iptables import IptablesTarget
from kcompile.targets.ipvs import IpvsTarget
from kcompile.targets.nftables import NftablesTarget
from kcompile.targets.node import HealthKey, SysctlKey, lower_node
from kcompile.targets.xdp import XdpTarget

replace = msgspec.structs.replace
TARGETS: list[Target] = [NftablesTarget(), IptablesTarget(), IpvsTarget(), XdpTarget()]


def plane(seed: int) -> Dataplane:
    """Services in both IP versions, and nothing that a node gets without Services."""
    found = random_dataplane(random.Random(seed), services=12)
    return replace(
        found,
        settings=replace(found.settings, service_cidrs=()),
        node=replace(found.node, route_localnet=False),
    )


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("seed", range(5))
def test_what_stays_is_there_beside_services_already(target, seed):
    whole = plane(seed)
    observed = target.lower(whole)
    standing = target.standing(observed)
    assert standing == (4, 6)
    assert target.lower(replace(whole, standing=standing)) == observed, "a second apply changes nothing"
    idle = target.lower(replace(whole, ports=(), standing=standing))
    assert idle
    assert target.standing(idle) == standing, "nor does it when nothing is left"
    assert set(idle) <= set(observed)
    assert target.frontends(idle) == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_node_without_connections_keeps_nothing(target):
    assert target.lower(replace(plane(1), ports=())) == {}
    assert target.standing({}) == ()


def test_forwarding_goes_on_where_connections_do():
    idle = replace(plane(1), ports=(), standing=(4,))
    assert lower_node(idle) == {SysctlKey("net.ipv4.ip_forward"): "1"} | {
        HealthKey(check.port): check for check in idle.health_checks
    }

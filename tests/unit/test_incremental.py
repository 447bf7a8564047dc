"""A Program that follows its ports is what `lower` makes of the ports as they are now."""

import random

import msgspec
import pytest

from harness.random_dataplanes import random_dataplane, random_history
from kcompile.engine.session import differing
from kcompile.ir.model import HealthCheck
from kcompile.modes import MODES
from kcompile.program import apply_changes
from kcompile.targets.base import Relowered

replace = msgspec.structs.replace
nftables, iptables, ipvs, xdp = (MODES[name] for name in ("nftables", "iptables", "ipvs", "xdp"))
FOLLOWED = {
    "nftables": (nftables.target(), nftables.follow),
    "iptables": (iptables.target(), iptables.follow),
    "ipvs": (ipvs.target(), ipvs.follow),
    "xdp": (xdp.target(), xdp.follow),
    "any": (nftables.target(), lambda dataplane: Relowered(nftables.target(), dataplane)),
}
followed = pytest.mark.parametrize(("target", "follow"), FOLLOWED.values(), ids=FOLLOWED)


@followed
@pytest.mark.parametrize("seed", range(10))
def test_it_equals_lowering_anew(target, follow, seed):
    history = random_history(random.Random(seed))
    now = next(history)
    kept = follow(now)
    held = dict(kept.program)
    assert held == target.lower(now)
    standing = set(target.standing(held))
    for later in history:
        gone, come = differing(now, later)
        held = apply_changes(held, kept.replace(gone.ports, come.ports))
        assert kept.program == target.lower(replace(later, standing=tuple(sorted(standing))))
        assert held == kept.program
        standing |= set(target.standing(held))
        now = later


@followed
def test_nothing_is_left_but_what_open_connections_need(target, follow):
    plane = random_dataplane(random.Random(1), services=3)
    settings = replace(plane.settings, service_cidrs=())
    plane = replace(plane, settings=settings, node=replace(plane.node, route_localnet=False))
    kept = follow(plane)
    kept.replace(plane.ports, ())
    assert kept.program == target.lower(replace(plane, ports=(), standing=(4, 6)))
    assert target.frontends(kept.program) == []


@followed
def test_health_checks_come_and_go(target, follow):
    plane = random_dataplane(random.Random(1), services=3)
    checks = (HealthCheck(30100, "ns0", "svc-1", 1), HealthCheck(30101, "ns0", "svc-2", 0))
    kept = follow(plane)
    before = dict(kept.program)
    for wanted in (checks, checks[:1], ()):
        before = apply_changes(before, kept.check(wanted))
        assert before == kept.program == target.lower(replace(plane, health_checks=wanted))
    kept.check(checks)
    standing = target.standing(kept.program)
    kept.replace(plane.ports, ())
    assert kept.program == target.lower(replace(plane, ports=(), health_checks=checks, standing=standing))

"""What mode ipvs leaves behind for open connections when another mode takes over: neither too little nor too
much.
"""

import random

import pytest

from harness.random_dataplanes import random_dataplane
from kcompile.program import apply_changes
from kcompile.targets.ipvs import IpvsTarget
from kcompile.targets.ipvs.leaving import remainder
from kcompile.targets.ipvs.resources import (
    AddressKey,
    DeviceKey,
    RealServer,
    RealServerKey,
    SetKey,
    VirtualServerKey,
)
from kcompile.targets.xtables.keys import ChainKey, JumpKey

TARGET = IpvsTarget()


def program_of(seed: int):
    return TARGET.lower(random_dataplane(random.Random(seed), services=6))


def drained(program, busy=()):
    """`program` once no real server gets connections any more; those `busy` still have one."""
    return {
        key: RealServer(0, int(key in busy)) if isinstance(key, RealServerKey) else value
        for key, value in program.items()
    }


@pytest.mark.parametrize("seed", range(20))
def test_without_connections_nothing_stays(seed):
    program = drained(program_of(seed))
    assert remainder(program) == {}
    assert apply_changes(program, TARGET.diff(program, {})) == {}


@pytest.mark.parametrize("seed", range(20))
def test_a_connection_keeps_what_it_needs(seed):
    program = program_of(seed)
    busy = random.Random(seed).choice([key for key in program if isinstance(key, RealServerKey)])
    held = drained(program, [busy])
    left = apply_changes(held, TARGET.diff(held, remainder(held)))
    assert {key for key in left if isinstance(key, VirtualServerKey | RealServerKey)} == {
        busy,
        busy.virtual_server,
    }
    assert {key for key in left if key.kind == "address"} == {AddressKey(busy.version, busy.address)} & set(
        program
    )
    assert {key.name for key in left if isinstance(key, SetKey)} == {"VIPS", "FRONTENDS"}
    assert {(key.table, key.name) for key in left if isinstance(key, ChainKey)} == {
        ("filter", "KCOMPILE-IPVS-INPUT")
    }
    assert {(key.table, key.hook) for key in left if isinstance(key, JumpKey)} == {("filter", "INPUT")}
    assert {getattr(key, "version", None) or key.family for key in left if key != DeviceKey()} <= {
        busy.version,
        f"ip{busy.version}",
    }
    assert TARGET.diff(left, remainder(left)) == (), "a second apply has nothing to do"
    over = drained(left)
    assert apply_changes(over, TARGET.diff(over, remainder(over))) == {}


def test_real_servers_whose_time_is_over_keep_nothing():
    program = program_of(3)
    expired = {
        key: RealServer(0, 5, True) if isinstance(key, RealServerKey) else value
        for key, value in program.items()
    }
    assert remainder(expired) == {}


@pytest.mark.parametrize("seed", range(20))
def test_before_it_is_known_who_has_connections_new_ones_have_no_way_in(seed):
    """At first it is asked for with the real servers' weights at 1."""
    keep = remainder(program_of(seed))
    assert {key.kind for key in keep} <= {"device", "set", "chain", "jump"}
    assert {key.table for key in keep if isinstance(key, ChainKey)} <= {"filter"}


def test_a_frontend_that_only_drains_says_so():
    program = program_of(5)
    servers = [key for key in program if isinstance(key, RealServerKey) and key.protocol == "tcp"]
    busy = next(key for key in servers if AddressKey(key.version, key.address) in program)
    held = drained(program, [busy])
    views = TARGET.frontends(apply_changes(held, TARGET.diff(held, remainder(held))))
    assert {view.verdict for view in views} == {"draining"}
    assert {ip for view in views for ip in view.draining} == {
        f"[{busy.ip}]:{busy.real_port}" if busy.version == 6 else f"{busy.ip}:{busy.real_port}"
    }

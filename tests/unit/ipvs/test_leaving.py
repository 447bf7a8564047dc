"""What mode ipvs leaves behind for open connections when another mode takes over: neither too little nor too much."""

import random

import pytest

from harness.random_dataplanes import random_dataplane
from kcompile.plan.diff import apply_changes
from kcompile.targets.ipvs import IpvsTarget
from kcompile.targets.ipvs.leaving import remainder
from kcompile.targets.ipvs.resources import RealServer, virtual_server_of

TARGET = IpvsTarget()


def program_of(seed: int):
    return TARGET.lower(random_dataplane(random.Random(seed), services=6))


def drained(program, busy=()):
    """`program` once no real server gets connections any more; those `busy` still have one."""
    return {key: RealServer(0, int(key in busy)) if key[0] == "rs" else value for key, value in program.items()}


@pytest.mark.parametrize("seed", range(20))
def test_without_connections_nothing_stays(seed):
    program = drained(program_of(seed))
    assert remainder(program) == {}
    assert apply_changes(program, TARGET.diff(program, {})) == {}


@pytest.mark.parametrize("seed", range(20))
def test_a_connection_keeps_what_it_needs(seed):
    program = program_of(seed)
    busy = random.Random(seed).choice([key for key in program if key[0] == "rs"])
    held = drained(program, [busy])
    left = apply_changes(held, TARGET.diff(held, remainder(held)))
    assert {key for key in left if key[0] in ("vs", "rs")} == {busy, virtual_server_of(busy)}
    assert {key for key in left if key[0] == "address"} == {key for key in program if key == ("address", *busy[1:4:2])}
    assert {key[2] for key in left if key[0] == "set"} == {"VIPS", "FRONTENDS"}
    assert {key[2:] for key in left if key[0] == "chain"} == {("filter", "KCOMPILE-IPVS-INPUT")}
    assert {key[2:4] for key in left if key[0] == "jump"} == {("filter", "INPUT")}
    assert {key[1] for key in left if key != ("device",)} <= {busy[1], f"ip{busy[1]}"}
    assert TARGET.diff(left, remainder(left)) == (), "a second apply has nothing to do"
    over = drained(left)
    assert apply_changes(over, TARGET.diff(over, remainder(over))) == {}


def test_real_servers_whose_time_is_over_keep_nothing():
    program = program_of(3)
    expired = {key: RealServer(0, 5, True) if key[0] == "rs" else value for key, value in program.items()}
    assert remainder(expired) == {}


@pytest.mark.parametrize("seed", range(20))
def test_before_it_is_known_who_has_connections_new_ones_have_no_way_in(seed):
    """At first it is asked for with the real servers' weights at 1."""
    keep = remainder(program_of(seed))
    assert {key[0] for key in keep} <= {"device", "set", "chain", "jump"}
    assert {key[2] for key in keep if key[0] == "chain"} <= {"filter"}


def test_a_frontend_that_only_drains_says_so():
    program = program_of(5)
    busy = next(key for key in program if key[0] == "rs" and key[2] == "tcp" and ("address", key[1], key[3]) in program)
    held = drained(program, [busy])
    views = TARGET.frontends(apply_changes(held, TARGET.diff(held, remainder(held))))
    assert {view.verdict for view in views} == {"draining"}
    assert {ip for view in views for ip in view.draining} == {f"[{busy[5]}]:{busy[6]}" if busy[1] == 6 else f"{busy[5]}:{busy[6]}"}

"""What only mode ipvs has: its virtual and real servers beside the tools that others load them with, and one
endpoint into the kernel.

Every round of a load has a namespace of its own: what was removed makes additions slower for minutes
(ip_vs_trash_get_dest()).
"""

import itertools

import pytest

from kcompile.kernel.ipvs.read import real_servers, virtual_servers
from kcompile.program import Change
from kcompile_bench.ipvs import PEERS, prepared

pytestmark = [pytest.mark.kernel, pytest.mark.modes("ipvs")]
ROUNDS = {"kcompile": 5, "ipvsadm -R": 3, "pyroute2.IPVS": 1}


def servers(program):
    return [Change(key, None, value) for key, value in program.items() if key.kind in ("vs", "rs")]


@pytest.mark.parametrize("name", PEERS)
def test_servers(measure, workload, mode, fresh, name):
    """All of them, by each way. What is there afterwards is compared."""
    program = workload.program(mode)
    changes = servers(program)
    work = prepared(name, changes)
    measure(f"servers, {name}", work, mode=mode, setup=fresh, rounds=ROUNDS[name], entries=len(changes))
    found = virtual_servers()
    assert found.keys() | real_servers(found).keys() == {change.key for change in changes}


@pytest.mark.parametrize("name", PEERS)
def test_one_server(measure, workload, mode, fresh, name):
    """One real server goes and comes back among all others."""
    fresh()
    changes = servers(workload.program(mode))
    prepared("kcompile", changes)()
    middle = [change for change in changes if change.key.kind == "rs"][len(changes) // 3]
    back = Change(middle.key, middle.new, None)
    states = itertools.cycle([prepared(name, [back]), prepared(name, [middle])])
    measure(f"one server, {name}", lambda: next(states)(), mode=mode, rounds=20)

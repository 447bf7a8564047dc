"""Warnings that last are in the log once."""

import logging
import random

from harness.objects import service, slice_of
from harness.random_dataplanes import random_node, random_settings
from kcompile.agent.ports import Ports, Surroundings
from kcompile.agent.state import Given
from kcompile.agent.warn import Warnings
from kcompile.engine.request import Request
from kcompile.modes import mode_of


def test_what_a_mode_cannot_do_is_named_once_while_it_lasts():
    rng, lines = random.Random(1), []
    log = logging.Logger("agent")
    log.addFilter(lambda record: lines.append(record.getMessage()))
    warnings, mode = Warnings(Request(), log), mode_of("ipvs")
    ports = Ports(Surroundings(random_node(rng), random_settings(rng), frozenset((4, 6))))

    def put(name, protocol):
        port = {"name": "p", "port": 80, "protocol": protocol}
        given = Given(service(name, "10.96.0.1", port), (slice_of(name, "10.244.0.5", protocol=protocol),))
        changed = ports.update({f"shop/{name}": given})
        warnings.limits(mode, ports.plane(changed.new), whole=False)

    put("one", "UDP")
    (first,) = [line for line in lines if "UDP" in line]
    assert "shop/one" in first
    warnings.limits(mode, ports.dataplane(), whole=True)
    assert sum("UDP" in line for line in lines) == 1
    put("one", "TCP")
    warnings.limits(mode, ports.dataplane(), whole=True)
    put("one", "UDP")
    assert sum("UDP" in line for line in lines) == 2
    warnings.node("no Node")
    warnings.node("no Node")
    warnings.node("")
    warnings.node("no Node")
    assert lines.count("no Node") == 2


def test_a_map_that_becomes_nearly_full_is_named_once():
    lines = []
    log = logging.Logger("agent")
    log.addFilter(lambda record: lines.append(record.getMessage()))
    warnings = Warnings(Request(), log)
    for count in (79, 80, 99, 50, 85):
        warnings.filling({"flows4": (count, 100), "flows6": (0, 100)})
    assert [line.partition(":")[0].partition(";")[0] for line in lines] == [
        "map flows4 holds 80 of 100 entries",
        "map flows4 holds 85 of 100 entries",
    ]
    assert lines[0].endswith("(--xdp-capacity flows4=400)")

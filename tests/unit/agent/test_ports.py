"""Ports that are kept up to date Service by Service are those of all Services at once."""

import copy
import logging
import random

import msgspec
import pytest

from harness.objects import service, slice_of
from harness.random_dataplanes import random_node, random_settings
from kcompile.agent.ports import Ports, Surroundings
from kcompile.agent.record import Record
from kcompile.agent.state import State
from kcompile.errors import SpecError
from kcompile.modes import mode_of
from kcompile.passes import resolve, without_occupied
from kcompile.spec.convert import service_ports
from kcompile.spec.inventory import Inventory
from kcompile.spec.validate import _check

NAMES = ("a", "b", "c", "d", "e")
BOTH = frozenset((4, 6))


def random_service(rng, name):
    """Their external addresses, nodePorts and even clusterIPs are so few that they conflict often."""
    at = rng.choice((NAMES.index(name), NAMES.index(name), 0)) + 1
    six = rng.random() < 0.3
    ip = f"fd00:10:96::{at}" if six else f"10.96.0.{at}"
    port = {"name": "p", "port": 80, "protocol": rng.choice(("TCP", "UDP"))}
    spec = {}
    kind = rng.choice(("ClusterIP", "NodePort", "LoadBalancer"))
    if kind != "ClusterIP":
        port["nodePort"] = rng.choice((30001, 30002, 30003))
        spec["externalTrafficPolicy"] = rng.choice(("Cluster", "Local"))
    if kind == "LoadBalancer":
        spec["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}}
        if spec["externalTrafficPolicy"] == "Local":
            spec["healthCheckNodePort"] = rng.choice((32001, 32002))
    if rng.random() < 0.4:
        spec["externalIPs"] = ["2001:db8::9"] if six else [rng.choice(("198.51.100.1", "10.244.0.1"))]
    if rng.random() < 0.15:
        port["port"] = 99999  # bad
    return service(name, ip, port, type=kind, **spec)


def random_slice(rng, name, suffix):
    six = rng.random() < 0.3
    addresses = rng.sample(range(1, 7), rng.choice((0, 1, 3)))
    ips = [f"fd00:10:244::{n}" if six else f"10.244.0.{n}" for n in addresses]
    if rng.random() < 0.1:
        ips.append("10.244.0.300")
    protocol, owner = rng.choice(("TCP", "UDP")), rng.choice((name, name, "a"))
    item = slice_of(owner, *ips, protocol=protocol, nodeName=rng.choice(("node-a", "node-b")))
    item.metadata.name = f"{name}-{suffix}"
    return item


class World:
    """The objects as they are, and those of each Service as they last were good."""

    def __init__(self, rng):
        self.rng = rng
        self.services, self.slices, self.good = {}, {}, {}

    def change(self, state):
        rng = self.rng
        name = rng.choice(NAMES)
        if rng.random() < 0.5:
            if rng.random() < 0.3:
                self.services.pop(name, None)
                state.gone("Service", "shop", name)
            else:
                self.services[name] = item = random_service(rng, name)
                state.put("Service", item)
            return
        key = name, rng.choice("xy")
        if rng.random() < 0.3:
            self.slices.pop(key, None)
            state.gone("EndpointSlice", "shop", "-".join(key))
        else:
            self.slices[key] = item = random_slice(rng, *key)
            state.put("EndpointSlice", item)

    def settle(self):
        """All good objects, in one Inventory."""
        for name in NAMES:
            if name not in self.services:
                self.good.pop(name, None)
                continue
            label = "kubernetes.io/service-name"
            slices = [item for item in self.slices.values() if item.metadata.labels[label] == name]
            own = Inventory(services=[self.services[name]], endpoint_slices=slices)
            own = copy.deepcopy(own)  # to check is to fill in defaults
            try:
                _check(own)
            except SpecError:
                continue
            self.good[name] = own
        held = self.good.values()
        return Inventory(
            services=[each for own in held for each in own.services],
            endpoint_slices=[each for own in held for each in own.endpoint_slices],
        )


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("binds", [False, True])
def test_after_any_events_the_program_is_that_of_everything(seed, binds):
    rng = random.Random(seed)
    node, settings = random_node(rng), random_settings(rng)
    hosts = {"198.51.100.1": "Node other"} if binds else None
    state, world = State((), Record(), lambda: None, logging.Logger("agent")), World(rng)
    ports = Ports(Surroundings(node, settings, BOTH, hosts))
    mode = mode_of("nftables")
    following = mode.follow(msgspec.structs.replace(ports.dataplane(), standing=(4, 6)))
    bad, conflicts = set(), 0
    for _ in range(30):
        for _ in range(rng.choice((1, 1, 4))):
            world.change(state)
        changed = ports.update(state.take().services)
        following.replace(changed.old, changed.new)
        wanted = service_ports(world.settle())
        if binds:
            wanted, _ = without_occupied(wanted, hosts, {*node.addresses, *node.interfaces})
        plane = resolve(wanted, node, settings)
        assert ports.dataplane() == msgspec.structs.replace(plane, notices=())
        assert following.program == mode.target().lower(msgspec.structs.replace(plane, standing=(4, 6)))
        assert ports.versions == {port.family.value for port in plane.ports}
        assert ports.udp().ports == tuple(p for p in plane.ports if p.protocol.value == "UDP")
        bad |= changed.bad.keys()
        conflicts += sum(notice.id == "frontend-taken" for notice in changed.notices)
    assert bad or conflicts  # else the test shows nothing
    moved = msgspec.structs.replace(node, name="node-b")
    again = ports.moved(Surroundings(moved, settings, BOTH, hosts))
    assert again.dataplane().ports == resolve(wanted, moved, settings).ports

"""The order of an apply, what drains, and that a failure at any step puts back what was: on a kernel made of
dictionaries.
"""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.random_dataplanes import random_dataplane
from kcompile.errors import KernelError
from kcompile.kernel.ipvs import node as ipvs
from kcompile.program import diff
from kcompile.targets.ipvs import IpvsTarget
from kcompile.targets.ipvs.resources import (
    AddressKey,
    DeviceKey,
    ElementKey,
    RealServer,
    RealServerKey,
    VirtualServer,
    VirtualServerKey,
)
from kcompile.targets.ipvs.steps import steps


def real_server(server: VirtualServerKey, ip: str, port: int) -> RealServerKey:
    return RealServerKey(server.version, server.protocol, server.address, server.port, ip, port)


TARGET = IpvsTarget()
seeds = st.integers(0, 2**32)


def program_of(seed: int):
    return TARGET.lower(random_dataplane(random.Random(seed), services=4))


class FakeKernel(ipvs.IpvsKernel):
    """Holds a Program.

    `fail_at`: the number of the change that is refused, counted over all steps; those before it come true.
    """

    def __init__(self, program, connections=()):
        super().__init__("legacy")
        self.program, self.connections = dict(program), dict.fromkeys(connections, 1)
        self.fail_at, self.done = None, 0
        self.states = []

    def observe(self):
        return dict(self.program)

    def _one(self, change):
        if self.fail_at is not None and self.done == self.fail_at:
            self.fail_at = None
            raise KernelError("refused")
        self.done += 1
        if change.new is None:
            self.program.pop(change.key, None)
            if change.key.kind == "vs":
                for key in [k for k in self.program if k.kind == "rs" and k.virtual_server == change.key]:
                    del self.program[key]
        else:
            self.program[change.key] = change.new
        self.states.append(dict(self.program))

    def _step(self, step, whole):  # noqa: ARG002
        for change in step.changes:
            self._one(change)


@pytest.fixture
def fake(monkeypatch):
    def make(program, connections=()):
        kernel = FakeKernel(program, connections)

        def send(_, changes, what, sockets):  # noqa: ARG001
            for change in changes:
                kernel._one(change)

        def held(*_):
            return {
                k: RealServer(v.weight, kernel.connections.get(k, 0) if v.weight == 0 else 0)
                for k, v in kernel.program.items()
                if k.kind == "rs"
            }

        monkeypatch.setattr(ipvs, "_all", send)
        monkeypatch.setattr(ipvs, "real_servers", held)
        return kernel

    return make


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds, seeds)
def test_an_apply_comes_to_the_desired_program_and_no_live_address_is_ever_without_a_server(fake, one, other):
    old, new = program_of(one), program_of(other)
    kernel = fake(old)
    kernel.apply(TARGET.diff(old, new))
    assert kernel.program == new
    kept = {k for k in new if k.kind == "vs"} & {k for k in old if k.kind == "vs"}
    for state in kernel.states:
        served = {k.virtual_server for k, v in state.items() if k.kind == "rs" and v.weight}
        assert kept <= served
        for key, value in state.items():  # what leads somewhere leads to a server
            if (
                key.kind == "element"
                and "skbmark" in value
                and key.set in ("INSIDE", "NP-INSIDE", "NODEPORTS")
            ):
                mark = value.rpartition("skbmark ")[2]
                assert VirtualServerKey(key.version, "fwmark", mark, 0) in served


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds, seeds, st.floats(0, 1))
def test_a_failure_anywhere_puts_back_what_was(fake, one, other, where):
    old, new = program_of(one), program_of(other)
    kernel = fake(old)
    changes = TARGET.diff(old, new)
    kernel.fail_at = int(where * sum(len(step.changes) for step in steps(changes)))
    try:
        kernel.apply(changes)
    except KernelError:
        assert diff(kernel.program, old) == ()
    else:
        assert kernel.program == new


WEB = VirtualServerKey(4, "tcp", "10.96.0.1", 80)


def web(*backends, protocol="tcp", others=()):
    made = {
        DeviceKey(): "",
        ElementKey(4, "FRONTENDS", f"10.96.0.1,{protocol}:80"): 'comment "a/b:c ClusterIP"',
    }
    vs = VirtualServerKey(4, protocol, "10.96.0.1", 80)
    made[vs] = "vs"
    made |= {real_server(vs, ip, 8080): RealServer(1) for ip in backends}
    return made | {AddressKey(4, "10.96.0.1"): ""} | dict(others)


def test_a_removed_real_server_with_connections_stays_at_weight_zero(fake):
    old, new = web("10.0.0.1", "10.0.0.2"), web("10.0.0.2")
    gone = real_server(WEB, "10.0.0.1", 8080)
    kernel = fake(old, connections=[gone])
    kernel.apply(TARGET.diff(old, new))
    assert kernel.program == new | {gone: RealServer(0)}
    observed = new | {gone: RealServer(0, 3)}
    assert TARGET.diff(observed, new) == ()
    assert [v.draining for v in TARGET.frontends(observed | {WEB: VirtualServer("rr")})] == [
        ("10.0.0.1:8080",)
    ]
    for over in (RealServer(0), RealServer(0, 3, True)):
        (change,) = TARGET.diff(new | {gone: over}, new)
        assert (change.key, change.new) == (gone, None)


def test_a_removed_service_keeps_its_address_while_connections_last(fake):
    old, new = web("10.0.0.1"), {DeviceKey(): ""}
    kernel = fake(old, connections=[real_server(WEB, "10.0.0.1", 8080)])
    kernel.apply(TARGET.diff(old, new))
    assert kernel.program.keys() == old.keys()
    held = {k: RealServer(0, 1) if k.kind == "rs" else v for k, v in kernel.program.items()}
    assert TARGET.diff(held, new) == ()
    kernel.connections.clear()
    kernel.apply(TARGET.diff(kernel.program, new))
    assert kernel.program == new


def test_udp_goes_at_once_and_a_delete_waits_for_nobody(fake):
    udp = web("10.0.0.1", "10.0.0.2", protocol="udp")
    kernel = fake(udp, connections=[k for k in udp if k.kind == "rs"])
    kernel.apply(TARGET.diff(udp, web("10.0.0.2", protocol="udp")))
    assert kernel.program == web("10.0.0.2", protocol="udp")
    tcp = web("10.0.0.1")
    kernel = fake(tcp, connections=[k for k in tcp if k.kind == "rs"])
    kernel.apply(TARGET.diff(tcp, {}))
    assert kernel.program == {}


def test_a_real_server_that_comes_back_stops_draining(fake):
    back = real_server(WEB, "10.0.0.1", 8080)
    held = web("10.0.0.2") | {back: RealServer(0, 3)}
    kernel = fake(held)
    kernel.apply(TARGET.diff(held, web("10.0.0.1", "10.0.0.2")))
    assert kernel.program == web("10.0.0.1", "10.0.0.2")


def test_others_virtual_servers_in_an_excluded_cidr_are_left_alone():
    excluded = {ElementKey(4, "EXCLUDED", "10.96.0.0/24"): ""}
    foreign = {
        VirtualServerKey(4, "tcp", "10.96.0.9", 99): "vs",
        RealServerKey(4, "tcp", "10.96.0.9", 99, "10.0.0.9", 99): RealServer(1),
    }
    own = web("10.0.0.1")
    assert {
        c.key for c in TARGET.diff(own | foreign | excluded, {DeviceKey(): ""} | excluded)
    } == own.keys() - {DeviceKey()}
    assert {c.key for c in TARGET.diff(own | foreign, {DeviceKey(): ""})} == (own | foreign).keys() - {
        DeviceKey()
    }


def test_scripts_are_in_the_tools_words():
    texts = TARGET.scripts(TARGET.diff({}, program_of(3)))
    labels = [label.partition(" ")[2] for label in texts]
    assert labels[:3] == ["ip link", "ipset restore", "ipvsadm"]
    assert labels[-1] == "ip address"
    assert all(text.endswith("\n") for text in texts.values())

"""The ipvs target against a real kernel: what is written is what is read back, a diff does what it says,
others' is left alone.
"""

import random
import socket
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import modes, netns
from harness.random_dataplanes import random_dataplane
from kcompile.errors import KernelError
from kcompile.kernel import ipvs
from kcompile.kernel.drivers import driver_for, installed
from kcompile.kernel.ipvs import dummy, read
from kcompile.program import Change
from kcompile.targets.ipvs import IpvsTarget
from kcompile.targets.ipvs.resources import (
    DEVICE,
    AddressKey,
    DeviceKey,
    RealServer,
    RealServerKey,
    SetKey,
    VirtualServer,
    VirtualServerKey,
)

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs_kernel]
TARGET = IpvsTarget()
seeds = st.integers(0, 2**32)
random_kernel = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def real_server(server: VirtualServerKey, ip: str, port: int) -> RealServerKey:
    return RealServerKey(server.version, server.protocol, server.address, server.port, ip, port)


def program_of(seed: int):
    return TARGET.lower(random_dataplane(random.Random(seed), services=6))


@pytest.fixture
def here(tmp_path):
    """A driver in an empty namespace."""
    if reason := modes.missing("ipvs"):
        pytest.skip(reason)
    with netns.group(["ipvs"]) as names:
        netns.run(names["ipvs"], ["ip", "link", "set", "lo", "up"])
        with netns.enter(names["ipvs"]):
            yield driver_for("ipvs", None, tmp_path)


def become(driver, program):
    """Bring the namespace to `program`, and check that it is there."""
    changes = TARGET.diff(driver.observe(), program)
    driver.apply(changes)
    held = driver.observe()
    assert {k: v for k, v in held.items() if program.get(k) != v} == {}
    assert {k: v for k, v in program.items() if held.get(k) != v} == {}


def tool(*arguments: str) -> str:
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout


@random_kernel
@given(seeds, seeds)
def test_what_is_written_is_read_back_and_a_diff_turns_one_into_the_other(here, one, other):
    become(here, program_of(one))
    become(here, program_of(other))
    assert TARGET.diff(here.observe(), program_of(other)) == ()
    become(here, {})


def test_an_empty_namespace_holds_nothing_and_stays_so(here):
    assert here.observe() == {}
    assert installed() == []
    assert here.families() == (4, 6)


@pytest.mark.parametrize(
    "scheduler", ["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "lblc", "lblcr", "mh", "fo", "ovf"]
)
def test_every_scheduler(here, scheduler):
    flags = 0x10 if scheduler == "mh" else 0
    server = VirtualServerKey(4, "tcp", "10.96.0.1", 80)
    become(
        here,
        {
            DeviceKey(): "",
            server: VirtualServer(scheduler, flags | 1, 600),
            real_server(server, "10.244.0.5", 8080): RealServer(1),
            AddressKey(4, "10.96.0.1"): "",
        },
    )


def test_an_update_of_a_virtual_server_keeps_its_real_servers(here):
    server = VirtualServerKey(6, "sctp", "fd00:10:96::1", 80)
    rest = {
        DeviceKey(): "",
        real_server(server, "fd00:10:244::5", 8080): RealServer(1),
        AddressKey(6, "fd00:10:96::1"): "",
    }
    become(here, {**rest, server: VirtualServer("rr")})
    become(here, {**rest, server: VirtualServer("wlc", 1, 60)})
    become(here, {**rest, server: VirtualServer("rr")})


def test_pyroute2_reads_the_same(here):
    from pyroute2 import IPVS, IPVSDest, IPVSService

    become(here, program_of(5))
    seen = set()
    with IPVS() as reader:
        for message in reader.service("dump"):
            service = IPVSService.from_message(message)
            version = 4 if service["af"] == socket.AF_INET else 6
            if service.get("fwmark"):
                name = (version, "fwmark", f"{service['fwmark']:#x}", 0)
            else:
                name = (
                    version,
                    {6: "tcp", 17: "udp", 132: "sctp"}[service["protocol"]],
                    service["addr"],
                    service["port"],
                )
            seen.add(VirtualServerKey(*name))
            for answer in reader.dest("dump", service=service):
                dest = IPVSDest.from_message(answer)
                seen.add(RealServerKey(*name, dest["addr"], dest["port"]))
    assert seen == {key for key in here.observe() if key.kind in ("vs", "rs")}


def test_others_virtual_servers_sets_and_rules_are_left_alone(here):
    tool("ipvsadm", "-A", "-t", "198.51.100.1:80", "-s", "wlc")
    tool("ipvsadm", "-a", "-t", "198.51.100.1:80", "-r", "10.9.9.9:80", "-m")
    tool("ipvsadm", "-A", "-f", "77", "-s", "rr")
    tool("ipset", "create", "OTHER", "hash:ip")
    tool("ipset", "add", "OTHER", "10.9.9.9")
    before = tool("ipvsadm", "-S", "-n"), tool("ipset", "save", "OTHER")
    assert here.observe() == {}
    become(here, program_of(7))
    become(here, program_of(8))
    become(here, {})
    assert (tool("ipvsadm", "-S", "-n"), tool("ipset", "save", "OTHER")) == before


@pytest.mark.parametrize(
    "damage",
    [
        ["ipvsadm", "-C"],
        ["ipset", "flush"],
        ["ip", "link", "del", DEVICE],
        ["ip", "address", "flush", "dev", DEVICE],
        ["iptables-legacy", "-t", "mangle", "-F"],
        ["iptables-legacy", "-t", "nat", "-F", "POSTROUTING"],
        ["ip6tables-legacy", "-F", "KCOMPILE-IPVS-INPUT"],
        ["ip", "address", "add", "10.99.99.99/32", "dev", DEVICE],
    ],
    ids=" ".join,
)
def test_damage_is_seen_and_repaired(here, damage):
    program = program_of(11)
    become(here, program)
    tool(*damage)
    assert here.observe() != program
    become(here, program)


@pytest.mark.parametrize(
    "other",
    [
        "hash:ip,port family inet maxelem 2048 timeout 600 counters",
        "hash:ip,port family inet maxelem 1048576",
    ],
)
def test_a_set_of_another_definition_is_rebuilt(here, other):
    """Under the rules that ask for it, with its elements."""
    program = program_of(11)
    become(here, program)
    entries = [
        line for line in tool("ipset", "save", "KCOMPILE-4-FRONTENDS").splitlines() if line.startswith("add ")
    ]
    tool("ipset", "create", "other", *other.split())
    for line in entries[1:]:
        tool("ipset", "add", "other", line.split()[2])
    tool("ipset", "swap", "other", "KCOMPILE-4-FRONTENDS")
    tool("ipset", "destroy", "other")
    assert here.observe()[SetKey(4, "FRONTENDS")] == other
    become(here, program)
    assert TARGET.diff(here.observe(), program) == ()
    become(here, {})


def test_a_refused_change_names_its_resource_and_puts_back_what_was(here):
    program = program_of(12)
    become(here, program)
    more = {
        **program,
        VirtualServerKey(4, "tcp", "10.96.9.1", 80): VirtualServer("rr"),
        RealServerKey(4, "tcp", "10.96.9.1", 80, "10.244.0.5", 80): RealServer(1),
        VirtualServerKey(4, "tcp", "10.96.9.2", 80): VirtualServer("nonsense"),
        AddressKey(4, "10.96.9.1"): "",
    }
    changes = TARGET.diff(program, more)
    with pytest.raises(
        KernelError, match=r"-A -t 10\.96\.9\.2:80 -s nonsense: this kernel has no scheduler nonsense"
    ):
        here.apply(changes)
    assert here.observe() == program
    taken = {**program, VirtualServerKey(4, "tcp", "198.51.100.1", 80): VirtualServer("rr")}
    tool("ipvsadm", "-A", "-t", "198.51.100.1:80", "-s", "wlc")
    with pytest.raises(
        KernelError, match=r"-A -t 198\.51\.100\.1:80 -s rr: somebody else has this virtual server"
    ):
        here.apply(TARGET.diff(program, taken))
    assert here.observe() == program


def test_a_namespace_without_any_address_is_explained(here):
    server = VirtualServerKey(4, "tcp", "10.96.0.1", 80)
    program = {
        DeviceKey(): "",
        server: VirtualServer("rr"),
        real_server(server, "10.244.0.5", 80): RealServer(1),
    }
    with netns.group(["bare"]) as names, netns.enter(names["bare"]):
        with pytest.raises(
            KernelError,
            match=r"-r 10\.244\.0\.5:80 -m -w 1: not the address of a host, or .* \(ip link set lo up\)",
        ):
            here.apply(TARGET.diff({}, program))
        assert here.observe() == {}


def test_a_check_writes_nothing_and_finds_what_the_kernel_lacks(here):
    program = program_of(13)
    here.check(TARGET.diff({}, program))
    with pytest.raises(KernelError, match="nonsense"):
        here.check([Change(VirtualServerKey(4, "tcp", "10.96.9.2", 80), None, VirtualServer("nonsense"))])
    assert here.observe() == {}


def test_three_thousand_addresses_and_servers_in_batches(here):
    program = {DeviceKey(): ""}
    for i in range(3000):
        address = f"10.96.{i // 250}.{i % 250 + 1}"
        program[VirtualServerKey(4, "tcp", address, 80)] = VirtualServer("rr")
        program[RealServerKey(4, "tcp", address, 80, f"10.244.{i // 250}.{i % 250 + 1}", 8080)] = RealServer(
            1
        )
        program[AddressKey(4, address)] = ""
    become(here, program)
    become(here, {})


def test_a_connection_keeps_its_real_server_until_it_ends(here, monkeypatch):
    """A server on this node, so that one namespace is enough; the connection is the host's own."""
    tool("ip", "address", "add", "192.0.2.10/32", "dev", "lo")
    tool("ip", "address", "add", "192.0.2.11/32", "dev", "lo")
    server = VirtualServerKey(4, "tcp", "10.96.0.1", 80)

    def serving(*ips):
        found = {DeviceKey(): "", server: VirtualServer("rr"), AddressKey(4, "10.96.0.1"): ""}
        return found | {real_server(server, ip, 8080): RealServer(1) for ip in ips}

    listeners = {ip: socket.create_server((ip, 8080)) for ip in ("192.0.2.10", "192.0.2.11")}
    become(here, serving("192.0.2.10"))
    client = socket.create_connection(("10.96.0.1", 80), timeout=5)
    peer, _ = listeners["192.0.2.10"].accept()
    new = serving("192.0.2.11")
    changes = TARGET.diff(here.observe(), new)
    here.apply(changes)
    held = here.observe()
    old = real_server(server, "192.0.2.10", 8080)
    assert (held[old].weight, held[old].connections) == (0, 1)
    assert TARGET.diff(held, new) == ()
    client.sendall(b"still there")
    assert peer.recv(100) == b"still there"
    another = socket.create_connection(("10.96.0.1", 80), timeout=5)
    listeners["192.0.2.11"].accept()[0].close()
    another.close()
    monkeypatch.setattr("kcompile.kernel.ipvs.drain.LIMIT", 0.0)
    assert here.observe()[old].expired
    become(here, new)
    for sock in (client, peer, *listeners.values()):
        sock.close()


def test_the_device_has_no_address_of_its_own_and_never_lends_one(here):
    become(here, program_of(14))
    assert dummy.index()
    shown = tool("ip", "address", "show", "dev", DEVICE)
    assert "fe80::" not in shown
    assert "global kcompile" not in shown, "an IPv4 VIP must not become the source of what leaves the node"
    assert shown.count("deprecated") == shown.count("inet6 ")
    assert set(read.virtual_servers()) == {key for key in here.observe() if key.kind == "vs"}
    assert ipvs.IpvsKernel("legacy").observe() == here.observe()

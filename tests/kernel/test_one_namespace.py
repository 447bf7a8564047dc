"""Lock, state and pins belong to the network namespace and its life, not to the way that a command comes into
it.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ebpf, modes, netns
from harness.console import SCRIPT, Console, services
from kcompile.kernel.lock import locked

pytestmark = pytest.mark.kernel
_PR_CAPBSET_DROP, _CAP_SYS_PTRACE = 24, 19
LINK = ["link add eth0 type veth peer name peer0", "link set eth0 up", "addr add 192.0.2.10/24 dev eth0"]
_libc = ctypes.CDLL(None, use_errno=True)


def without_right() -> None:
    """In a child: no process of more rights may be looked at from now on, /proc/1/ns/net among it."""
    assert _libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_PTRACE, 0, 0, 0) == 0


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with netns.group(["node"]) as names:
        yield Console(names["node"], tmp_path)


WAYS = {
    "ip netns exec": lambda name: ["ip", "netns", "exec", name],
    "nsenter": lambda name: ["nsenter", f"--net=/run/netns/{name}"],
    "another PID namespace": lambda name: [
        "nsenter",
        f"--net=/run/netns/{name}",
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
    ],
    "another PID namespace, without its /proc": lambda name: [
        "nsenter",
        f"--net=/run/netns/{name}",
        "unshare",
        "--pid",
        "--fork",
    ],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("right", [True, False])
def test_every_way_in_leads_to_one_state(way: str, right: bool, console: Console):
    into, before = WAYS[way](console.namespace), None if right else without_right
    specs = ("-f", console.write(services(2, type="NodePort")), "--node", "node-a")
    console.run("apply", *specs, "--mode", "nftables")
    rules = netns.run(console.namespace, ["nft", "list", "ruleset"]).stdout
    # same allocations, same mode without --mode: nothing to change
    assert "No changes" in console.run("apply", *specs, into=into, before=before)
    assert netns.run(console.namespace, ["nft", "list", "ruleset"]).stdout == rules
    assert [path.name for path in console.run_folder.iterdir()] == [console.directory.name]
    assert [path.name for path in (console.folder / "state").iterdir()] == [f"netns-{console.namespace}"]
    console.run("delete", into=into, before=before)
    assert console.sysctl("net.ipv4.ip_forward") == "0"
    assert "Nothing to delete" in console.run("delete")


@pytest.mark.parametrize("right", [True, False])
def test_every_way_in_waits_for_one_lock(right: bool, console: Console):
    specs = console.write(services(1))
    with netns.enter(console.namespace), locked(console.directory):
        into = WAYS["ip netns exec"](console.namespace)
        command = [*into, SCRIPT, "apply", "-f", specs, "--node", "node-a"]
        with subprocess.Popen(
            command, env=console.environment, preexec_fn=None if right else without_right
        ) as waiting:
            time.sleep(0.1)
            deadline = time.monotonic() + 60
            lock = str(console.directory / "lock")
            while not any(
                lock == str(fd.readlink())
                for fd in Path(f"/proc/{waiting.pid}/fd").iterdir()
                if fd.is_symlink()
            ):
                assert waiting.poll() is None, "it didn't wait"
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert netns.run(console.namespace, ["nft", "list", "ruleset"]).stdout == ""
            waiting.kill()
    console.run("delete")


def test_two_namespaces_without_the_right_to_see_the_first_process(tmp_path: Path):
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    with netns.group(["a", "b"]) as names, ebpf.room("xdp-tc", tmp_path):
        for name in names.values():
            netns.batch(LINK, name)
        both = [Console(name, tmp_path) for name in names.values()]
        specs = both[0].write(services(1))
        env = {"KCOMPILE_BPF_DIR": str(tmp_path / "bpf")}
        for console in both:
            into = WAYS["nsenter"](console.namespace)
            apply = ("apply", "-f", specs, "--node", "node-a", "--mode", "xdp", "--socket-lb", "off")
            denied = subprocess.run(
                [*into, "stat", "-L", "/proc/1/ns/net"],
                preexec_fn=without_right,
                capture_output=True,
                check=False,
            )
            assert denied.returncode, "this process may look at the first one all the same"
            console.run(*apply, into=into, before=without_right, env=env)
        assert all(ebpf.programs(console.namespace) for console in both)
        for console in both:
            into = WAYS["nsenter"](console.namespace)
            assert "demo/svc-0" in console.run("get", "services", into=into, before=without_right)
            console.run("delete", into=into, before=without_right)
            assert ebpf.programs(console.namespace) == []
        assert ebpf.leftovers("xdp", tmp_path) == []


@pytest.mark.parametrize("mode", ["nftables", "iptables-nft"])
def test_what_an_earlier_namespace_of_the_name_had_is_not_used(mode: str, console: Console):
    if reason := modes.missing(mode):
        pytest.skip(reason)
    specs = ("-f", console.write(services(30)), "--node", "node-a")
    one = console.write(services(1), "one.json")
    console.run("apply", *specs, "--mode", mode)
    earlier = console.directory
    netns.batch([f"netns del {console.namespace}", f"netns add {console.namespace}"])
    if console.directory != earlier:  # the kernel gives the number of a namespace again, mostly at once
        earlier.rename(console.directory)
    assert "Nothing to delete" in console.run("delete", "-f", one)
    assert json.loads(console.run("delete", "-f", one, "-o", "json"))["changes"] == []
    assert console.sysctl("net.ipv4.ip_forward") == "0"
    assert "Plan (nftables)" in console.run("plan", *specs), "the mode of another life is no default"
    assert "Nothing to delete" in console.run("delete")


def test_the_address_of_a_service_lives_longer_than_the_namespace(console: Console):
    specs = ("-f", console.write(services(3)), "--node", "node-a")
    first = console.write(
        [each for each in services(3) if each["metadata"]["name"] not in ("svc-0", "svc-0-1")], "fewer.json"
    )
    console.run("apply", "-f", first, "--node", "node-a")
    given = {s["service"]: s["address"] for s in json.loads(console.run("get", "services", "-o", "json"))}
    netns.batch([f"netns del {console.namespace}", f"netns add {console.namespace}"])
    console.run("apply", *specs)
    again = {s["service"]: s["address"] for s in json.loads(console.run("get", "services", "-o", "json"))}
    assert given.items() < again.items()
    console.run("delete")


def test_commands_find_the_bpffs_that_apply_used(tmp_path: Path):
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    with netns.group(["node"]) as names, ebpf.room("xdp-tc", tmp_path):
        console = Console(names["node"], tmp_path)
        netns.batch(LINK, console.namespace)
        apply = ("-f", console.write(services(2)), "--node", "node-a", "--mode", "xdp", "--socket-lb", "off")
        console.run("apply", *apply, env={"KCOMPILE_BPF_DIR": str(tmp_path / "bpf")})
        assert "demo/svc-1" in console.run("get", "services")
        assert "No changes" in console.run("plan", *apply)
        # 1: this namespace has no route to the endpoints
        report = json.loads(console.run("doctor", "--mode", "xdp", "-o", "json", code=1))
        assert not [
            f for f in report["findings"] if f["check"] in ("bpffs", "bpf-programs") and f["severity"] != "ok"
        ]
        console.run("delete", "-f", console.write(services(1), "one.json"))
        assert "demo/svc-0" not in console.run("get", "services")
        console.run("delete")
        assert ebpf.programs(console.namespace) == []
        assert ebpf.leftovers("xdp", tmp_path) == []

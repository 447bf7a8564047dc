"""kcompile doctor about mode xdp: what it needs is tried, and what is in its way is found."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec
import pytest

from harness import ebpf, modes, netns
from kcompile.kernel.bpf import attach, library, programs
from kcompile.kernel.doctor import gather, judge
from kcompile.kernel.doctor.records import Facts, Finding, ModeProbe, NodeFacts, RuleFacts, XdpFacts
from kcompile.kernel.doctor.xdp import look

pytestmark = pytest.mark.kernel
FINE = XdpFacts(cgroup2="/sys/fs/cgroup")


@pytest.fixture(autouse=True)
def _possible() -> None:
    if reason := modes.missing("xdp"):
        pytest.skip(reason)


def findings(xdp: XdpFacts, own: tuple[str, ...] = (), works: bool = True) -> list[Finding]:
    probe = (
        ModeProbe("xdp") if works else ModeProbe("xdp", tool="/usr/lib/python3/dist-packages/bcc/__init__.py")
    )
    return list(look(Facts(probes=(probe,), rules=RuleFacts(own_modes=own), xdp=xdp)))


def test_the_mode_is_supported_here():
    (mode,) = judge(gather(["xdp"])).modes
    assert (mode.status, mode.families, mode.lacks) == ("supported", (4, 6), ())


def test_bcc_is_named_by_its_package():
    report = judge(Facts(probes=(ModeProbe("xdp", tool="/usr/lib/python3/dist-packages/bcc/__init__.py"),)))
    assert [f.fix for f in report.findings if f.check == "mode-tool"] == [("apt-get install python3-bpfcc",)]


def test_findings():
    assert findings(FINE) == []
    lacking = msgspec.structs.replace(FINE, bpffs=False, folder="/sys/fs/bpf/kcompile/v1", cgroup2="")
    assert [(f.check, f.severity) for f in findings(lacking)] == [("bpffs", "note"), ("cgroup2", "note")]
    assert findings(lacking)[0].fix == ("mount -t bpf bpf /sys/fs/bpf",)
    assert findings(lacking, works=False) == []
    foreign = msgspec.structs.replace(FINE, others=("eth0: XDP: program 7 (drop_all)",))
    assert [f.severity for f in findings(foreign)] == ["note"]
    assert [f.severity for f in findings(foreign, own=("xdp",))] == ["warning"]
    (veth,) = findings(msgspec.structs.replace(FINE, native_veths=("pod0",)), own=("xdp",))
    assert "veth pod0 has native XDP" in veth.message
    assert veth.fix == ("kcompile apply -f MANIFESTS --mode xdp --xdp-mode auto",)


def test_maps_of_connections_that_fill_up():
    filling = {"flows4": (8000, 10000), "flows6": (7999, 10000)}
    (full,) = findings(msgspec.structs.replace(FINE, filling=filling), own=("xdp",))
    assert (full.check, full.severity) == ("xdp-flows", "warning")
    assert "map flows4 holds 8000 of 10000 entries" in full.message
    assert full.fix[0] == "kcompile apply -f MANIFESTS --mode xdp --xdp-capacity flows4=40000"


def test_a_strict_reverse_path_filter():
    strict = NodeFacts(rp_filter={"all": 1, "lo": 0})
    facts = Facts(probes=(ModeProbe("xdp"),), xdp=FINE, node=strict)
    assert list(look(facts)) == []  # apply sets it on lo
    used = msgspec.structs.replace(facts, rules=RuleFacts(own_modes=("xdp",)))
    assert [(f.check, f.severity, f.fix) for f in look(used)] == [
        ("xdp-rp-filter", "warning", ("sysctl -w net.ipv4.conf.lo.rp_filter=2",))
    ]
    strict.rp_filter["lo"] = 2
    assert list(look(used)) == []


def test_somebody_elses_programs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path / "run"))
    with ebpf.bpffs(tmp_path) as bpf, netns.group(["doctor"]) as names:
        monkeypatch.setenv("KCOMPILE_BPF_DIR", str(bpf))
        netns.batch(["link add one type veth peer name two", "link set one up"], names["doctor"])
        assert gather(["xdp"], names["doctor"]).xdp.others == ()
        xdp = programs.load(
            programs.compile_text("int theirs(struct xdp_md *frame) { return 2; }"),
            {},
            {"theirs": programs.KINDS["xdp"]},
        )
        with netns.enter(names["doctor"]):
            index = socket.if_nametoindex("one")
            link = library.link_create(
                xdp["theirs"], index, programs.KINDS["xdp"][1], attach.XdpMode.NATIVE.value
            )
        with link:
            found = gather(["xdp"], names["doctor"]).xdp
            assert len(found.others) == 1
            assert found.others[0].startswith("one: XDP: program ")
            assert found.native_veths == ("one",)

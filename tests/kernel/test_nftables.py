"""The nftables target against a real kernel: what is written is what is read back, and a diff does what it
says.
"""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import netns
from harness.random_dataplanes import random_dataplane
from kcompile.errors import KernelError
from kcompile.ir.model import Backend, Dataplane
from kcompile.kernel.nftables import Nft
from kcompile.program import diff
from kcompile.targets.nftables import NftablesTarget

pytestmark = pytest.mark.kernel
TARGET = NftablesTarget()
seeds = st.integers(0, 2**32)


def program_of(seed: int):
    return TARGET.lower(random_dataplane(random.Random(seed)))


def script(old, new) -> str:
    return "".join(TARGET.scripts(TARGET.diff(old, new)).values())


@pytest.fixture(scope="module")
def nft():
    with netns.group(["nft"]) as names, netns.enter(names["nft"]), Nft() as nft:
        yield nft


@pytest.fixture
def clean(nft):
    nft.apply(script(nft.observe(), {}))
    assert nft.observe() == {}
    return nft


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds)
def test_what_is_written_is_read_back(nft, seed):
    program = program_of(seed)
    nft.apply(script(nft.observe(), {}))
    nft.apply(script({}, program))
    assert nft.observe() == program
    nft.apply(script(program, {}))
    assert nft.observe() == {}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds, seeds)
def test_the_diff_of_two_programs_turns_one_into_the_other(nft, one, other):
    a, b = program_of(one), program_of(other)
    nft.apply(script(nft.observe(), a))
    assert nft.observe() == a
    nft.apply(script(nft.observe(), b))
    assert nft.observe() == b
    assert diff(nft.observe(), b) == ()


def test_a_script_that_the_kernel_refuses_changes_nothing(clean):
    program = program_of(7)
    clean.apply(script({}, program))
    with pytest.raises(KernelError, match="nft"):
        clean.apply(script(program, {}) + "add rule ip kcompile no-such-chain accept\n")
    assert clean.observe() == program


def test_check_asks_and_does_not_write(clean):
    text = script({}, program_of(8))
    clean.check(text)
    assert clean.observe() == {}
    with pytest.raises(KernelError):
        clean.check(text + "add rule ip kcompile no-such-chain accept\n")


def test_foreign_tables_are_left_alone(clean):
    clean.apply("add table ip other\nadd chain ip other c\nadd rule ip other c accept\n")
    program = program_of(9)
    clean.apply(script(clean.observe(), program))
    assert clean.observe() == program
    clean.apply(script(program, {}))
    code, listing, _ = clean._run("list ruleset")
    assert code == 0
    assert b"table ip other" in listing
    assert b"kcompile" not in listing
    clean.apply("delete table ip other\n")


@pytest.mark.parametrize(
    "damage",
    [
        "flush chain ip kcompile prerouting",
        "add rule ip kcompile prerouting counter",
        "flush map ip kcompile frontends",
        "delete table ip kcompile",
        "delete table ip kcompile; add table ip kcompile; add set ip kcompile frontends { type ipv4_addr; }",
        "add element ip kcompile frontends { 10.1.2.3 . tcp . 1 : drop }",
    ],
)
def test_damage_is_seen_and_repaired(clean, damage):
    program = program_of(11)
    clean.apply(script({}, program))
    clean.apply(damage + "\n")
    observed = clean.observe()
    assert observed != program
    clean.apply(script(observed, program))
    assert clean.observe() == program


def test_clients_of_an_affinity_backend_survive_other_changes(clean):
    rng = random.Random(3)
    plane = random_dataplane(rng)
    sticky = next(p for p in plane.ports if p.affinity_seconds and len(p.cluster) > 1)
    a = TARGET.lower(plane)
    clean.apply(script({}, a))
    family = "ip" if sticky.family.value == 4 else "ip6"
    sets = [k.name for k in a if k.kind == "map" and k.family == family and k.name.endswith("-clients")]
    client = "192.0.2.77" if family == "ip" else "2001:db8::77"
    clean.apply("".join(f"add element {family} kcompile {s} {{ {client} }}\n" for s in sets))
    rest = Dataplane(plane.node, plane.settings, tuple(p for p in plane.ports if p.affinity_seconds))
    b = TARGET.lower(rest)
    clean.apply(script(clean.observe(), b))
    assert clean.observe() == b
    for name in sets:
        _, listing, _ = clean._run(f"list set {family} kcompile {name}")
        assert client.encode() in listing


def test_frontends_read_back_name_service_and_backends(clean):
    plane = random_dataplane(random.Random(5), services=20)
    clean.apply(script({}, TARGET.lower(plane)))
    views = {(v.service, v.kind, v.family, v.address, v.port): v for v in TARGET.frontends(clean.observe())}
    assert len(views) == sum(len(p.frontends) for p in plane.ports)

    def text(backends: tuple[Backend, ...]) -> set[str]:
        return {f"[{b.ip}]:{b.port}" if ":" in b.ip else f"{b.ip}:{b.port}" for b in backends}

    for port in plane.ports:
        for f in port.frontends:
            view = views[(port.name, f.kind.value, port.family.value, f.address or "*", f.port)]
            assert view.protocol == port.protocol.value
            if f.policy.forwards:
                assert set(view.backends) <= text(port.cluster) | text(port.local)
                assert view.backends
            else:
                assert view.verdict == f.policy.others.verdict.value

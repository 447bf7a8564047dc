"""Our ipset messages against the ipset tool: what one writes the other reads, for random dataplanes."""

import random
import re
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import netns
from harness.random_dataplanes import random_dataplane
from kcompile.errors import KernelError
from kcompile.kernel.ipvs import ipset
from kcompile.program import Change, diff
from kcompile.targets.ipvs import IpvsTarget
from kcompile.targets.ipvs.render import ipset_command
from kcompile.targets.ipvs.resources import SETS, ElementKey, SetKey, set_name

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("here")]
TARGET = IpvsTarget()
# what the kernel chose for itself
OWN = re.compile(r" (?:hashsize|bucketsize|initval) \S+")


@pytest.fixture
def here():
    with netns.group(["ipset"]) as names, netns.enter(names["ipset"]):
        yield


def tool(*arguments: str, text: str = "") -> str:
    return subprocess.run(
        ["ipset", *arguments], input=text, capture_output=True, text=True, check=True
    ).stdout


def become(program):
    changes = diff(ipset.observe(), program)
    # sets come before their elements and go after them
    ipset.change([c for c in changes if c.new is not None], changes)
    ipset.change(sorted((c for c in changes if c.new is None), key=lambda c: c.key.kind), changes)


def saved() -> set[str]:
    return {OWN.sub("", line).lower().strip() for line in tool("save").splitlines()}


def words(program) -> set[str]:
    return {ipset_command(key, value).lower() for key, value in program.items()}


def sets_of(seed: int):
    program = TARGET.lower(random_dataplane(random.Random(seed), services=6))
    return {key: value for key, value in program.items() if key.kind in ("set", "element")}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_tool_reads_what_we_write_and_we_what_it_does(one, other):
    for program in (sets_of(one), sets_of(other), {}):
        become(program)
        assert ipset.observe() == program
        assert saved() == words(program)
    program = sets_of(one)
    tool("restore", text="".join(f"{ipset_command(key, value)}\n" for key, value in program.items()))
    assert ipset.observe() == program
    become({})
    assert saved() == set()


ODD = [
    ("FRONTENDS", "10.0.0.1,47:0", ""),
    ("FRONTENDS", "10.0.0.1,sctp:65535", 'comment "a b: c, skbmark 1"'),
    ("INSIDE", "10.0.0.1,udp:1", "skbmark 0x1"),
    ("INSIDE", "10.0.0.1,udp:2", "skbmark 0x1/0xff skbprio 1:a0 skbqueue 7"),
    ("RANGES", "10.0.0.1,tcp:80,10.1.0.0/16", "nomatch"),
    ("RANGES", "10.0.0.1,tcp:80,10.1.2.3", ""),
    ("LOOP", "10.0.0.1,tcp:80,10.0.0.1", ""),
    ("EXCLUDED", "10.0.0.0/8", ""),
    ("EXCLUDED", "10.0.0.1", "nomatch"),
    ("NODEPORTS", "128.0.0.0/1,tcp:30000", 'comment "x" skbmark 0xffffffff'),
]


@pytest.mark.parametrize(("name", "entry", "options"), ODD, ids=lambda text: text or "-")
def test_any_element_comes_back_and_goes(name, entry, options):
    kind, extensions = SETS[name]
    place = SetKey(4, name)
    key = ElementKey(4, name, entry)
    base = {place: f"{kind} family inet maxelem 1048576{extensions}"}
    become(base)
    tool("-exist", "restore", text=f"add {set_name(4, name)} {entry} {options}\n")
    held = ipset.observe()
    assert held == base | {key: options}
    become(base)
    assert ipset.observe() == base
    become(held)
    assert ipset.observe() == held


@pytest.mark.parametrize(
    "more", ["", " timeout 600", " counters", " comment", " skbinfo", " counters comment skbinfo"]
)
def test_definitions_are_the_tool_s(more):
    for version, family in ((4, "inet"), (6, "inet6")):
        definition = f"hash:ip family {family} maxelem 77{more}"
        become({SetKey(version, "VIPS"): definition})
        assert saved() == {f"create kcompile-{version}-vips {definition}"}
        assert ipset.observe() == {SetKey(version, "VIPS"): definition}
        become({})


def addresses(count: int):
    return {ElementKey(4, "VIPS", f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"): "" for i in range(1, count + 1)}


VIPS = {SetKey(4, "VIPS"): "hash:ip family inet maxelem 1048576"}


def test_twenty_thousand_elements_need_several_messages():
    program = VIPS | addresses(20_000)
    become(program)
    assert ipset.observe() == program
    assert "hashsize 16384 " in tool("save", "KCOMPILE-4-VIPS").partition("\n")[0], (
        "the table was made large enough at once"
    )
    some = VIPS | addresses(50)
    become(some)
    assert ipset.observe() == some


@pytest.mark.parametrize("room", [1, 4, 3000])
def test_a_refused_element_is_named(room):
    program = {SetKey(4, "VIPS"): f"hash:ip family inet maxelem {room}"}
    become(program)
    wanted = list(addresses(room + 1))
    with pytest.raises(
        KernelError, match=re.escape(f"ipset: add KCOMPILE-4-VIPS {wanted[-1].entry}: the set is full")
    ):
        ipset.change([Change(key, None, "") for key in wanted])
    assert len(ipset.observe()) == 1 + room


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            Change(ElementKey(4, "NONE", "10.0.0.1"), None, ""),
            "add KCOMPILE-4-NONE 10.0.0.1: No such file or directory",
        ),
        (
            Change(ElementKey(4, "VIPS", "nonsense"), None, ""),
            "add KCOMPILE-4-VIPS nonsense: no element of this set",
        ),
        (
            Change(SetKey(4, "OTHER"), None, "hash:moon family inet"),
            "create KCOMPILE-4-OTHER hash:moon family inet: what is hash:moon?",
        ),
        (
            Change(SetKey(4, "VIPS"), None, "hash:net family inet maxelem 9"),
            "there is another set of this name",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refusal_is_one_line(change, said):
    become(VIPS)
    with pytest.raises(KernelError, match=re.escape(said)):
        ipset.change([change])
    assert ipset.observe() == VIPS


def test_what_is_gone_already_needs_no_removal():
    become(VIPS)
    gone = [
        Change(ElementKey(4, "VIPS", "10.0.0.1"), "", None),
        Change(ElementKey(4, "NONE", "10.0.0.1"), "", None),
    ]
    ipset.change([*gone, Change(SetKey(4, "NONE"), "hash:ip family inet", None)])
    assert ipset.observe() == VIPS


def rule(*arguments: str) -> str:
    return subprocess.run(["iptables-legacy", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hash:ip family inet maxelem 1048576", "hash:ip family inet maxelem 2097152"),
        ("hash:ip family inet maxelem 1048576", "hash:ip family inet maxelem 1048576 comment skbinfo"),
        (
            "hash:ip family inet maxelem 1048576 timeout 600 counters comment",
            "hash:ip family inet maxelem 1048576",
        ),
    ],
)
def test_a_set_of_another_definition_is_rebuilt_under_the_rules_that_ask_for_it(old, new):
    place = SetKey(4, "VIPS")
    become({place: old} | addresses(3000))
    if "comment" in old:
        tool("-exist", "add", "KCOMPILE-4-VIPS", "10.0.0.1", "comment", "lost")
    rule("-A", "INPUT", "-m", "set", "--match-set", "KCOMPILE-4-VIPS", "dst", "-j", "DROP")
    become({place: new} | addresses(3000))
    assert ipset.observe() == {place: new} | addresses(3000)
    assert tool("list", "-name").split() == ["KCOMPILE-4-VIPS"]
    assert "References: 1\n" in tool("list", "-terse", "KCOMPILE-4-VIPS")
    assert "--match-set KCOMPILE-4-VIPS dst" in rule("-S", "INPUT")
    become({place: old} | addresses(3000))
    assert ipset.observe() == {place: old} | addresses(3000)


def test_a_set_of_another_type_is_refused_and_left():
    other = {SetKey(4, "VIPS"): "hash:net family inet maxelem 1048576"}
    become(other | addresses(5))
    with pytest.raises(
        KernelError, match=r"KCOMPILE-4-VIPS is a hash:net .*, not a hash:ip .*: kcompile delete, then apply"
    ):
        become(VIPS | addresses(5))
    assert ipset.observe() == other | addresses(5)


def test_what_a_killed_rebuild_left_behind_goes():
    become(VIPS | addresses(5))
    tool("restore", text="create KCOMPILE-4-VIPS.new hash:ip\nadd KCOMPILE-4-VIPS.new 10.0.0.1\n")
    become({SetKey(4, "VIPS"): "hash:ip family inet maxelem 9"} | addresses(5))
    assert tool("list", "-name").split() == ["KCOMPILE-4-VIPS"]
    tool("create", "KCOMPILE-4-VIPS.new", "hash:ip")
    become(VIPS | addresses(5))
    assert ipset.observe() == VIPS | addresses(5)


def test_others_sets_are_left_alone():
    tool("restore", text="create OTHER hash:ip\nadd OTHER 10.0.0.1\ncreate xKCOMPILE-4-VIPS hash:ip\n")
    before = tool("save")
    become(VIPS | addresses(5))
    become({})
    assert tool("save") == before

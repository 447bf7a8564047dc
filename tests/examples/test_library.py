"""The library: docs/howto/library.md, run as it stands; and clusters that are planned more than once."""

import doctest
import sys

import pytest

import kcompile
from harness import modes, netns
from harness.imports import ROOT

HOWTO = ROOT / "docs" / "howto" / "library.md"


@pytest.fixture
def namespace(tmp_path, monkeypatch):
    for mode in ("nftables", "iptables-legacy"):
        if reason := modes.missing(mode):
            pytest.skip(reason)
    monkeypatch.setenv("KCOMPILE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(ROOT)
    with netns.group(["library"]) as names:
        netns.sysctl(names["library"], {"ipv4/ip_forward": 0})
        yield names["library"]


@pytest.mark.kernel
def test_the_document_is_what_happens(namespace: str):
    text = HOWTO.read_text().replace('"first"', f'"{namespace}"')
    test = doctest.DocTestParser().get_doctest(text, {}, HOWTO.name, str(HOWTO), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert runner.run(test).attempted > 12
    assert not runner.failures


@pytest.mark.kernel
def test_a_plan_is_for_the_node_as_it_was(namespace: str):
    cluster = kcompile.read_cluster("examples/nginx-tomcat", node="node-a", netns=namespace)
    plan = kcompile.plan(cluster)
    kcompile.apply(plan)
    with pytest.raises(kcompile.errors.KcompileError, match="has changed"):
        kcompile.apply(plan)
    assert kcompile.plan(cluster).empty


@pytest.mark.kernel
def test_command_and_library_agree_on_what_is_allocated(namespace: str):
    first = kcompile.read_cluster("examples/nginx-tomcat", node="node-a", netns=namespace)
    kcompile.apply(kcompile.plan(first))
    second = kcompile.read_cluster("examples/nginx-tomcat", node="node-a", netns=namespace)
    assert second.memory.before == first.memory.after
    assert kcompile.plan(second).empty


@pytest.mark.kernel
def test_without_numpy_mode_xdp_says_what_to_install(namespace: str, monkeypatch):
    cluster = kcompile.read_cluster("examples/nginx-tomcat", node="node-a", netns=namespace)
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert kcompile.compile(cluster, "xdp").frontends
    with pytest.raises(kcompile.errors.UnsupportedError, match=r"numpy .*\(pip install 'kcompile\[xdp\]'\)"):
        kcompile.plan(cluster, "xdp")
    assert not kcompile.plan(cluster, "nftables").empty


@pytest.mark.kernel
def test_without_numpy_rules_of_mode_xdp_are_not_overlooked(namespace: str, monkeypatch):
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    cluster = kcompile.read_cluster("examples/nginx-tomcat", node="node-a", netns=namespace, socket_lb="off")
    kcompile.apply(kcompile.plan(cluster, "xdp"))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "numpy", None)
        with pytest.raises(kcompile.errors.KernelError, match="rules of mode xdp") as caught:
            kcompile.plan(cluster, "nftables")
    assert not isinstance(caught.value, kcompile.errors.UnsupportedError)
    back = kcompile.plan(cluster, "nftables")
    assert back.other_modes == ("xdp",)
    kcompile.apply(back)

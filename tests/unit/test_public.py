"""What `import kcompile` offers: names that are documented, typed, and loaded when they are used; and the
examples of the docstrings.
"""

import ast
import doctest
import inspect
import re
import subprocess
import sys
import typing

import msgspec
import pytest

import kcompile
from harness.imports import ROOT
from kcompile import errors, library
from kcompile.engine.request import Request

HOWTO = ROOT / "docs" / "howto" / "library.md"
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]},
}


@pytest.fixture(autouse=True)
def own_files(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMPILE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path / "run"))


def test_the_public_names_are_those_that_are_documented():
    table = HOWTO.read_text().partition("## What there is")[2].partition("`help(")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(kcompile.__all__)
    assert {*library.__all__, "errors", "__version__"} == set(kcompile.__all__)
    assert set(kcompile.__all__) <= set(dir(kcompile))


@pytest.mark.parametrize("name", kcompile.__all__)
def test_each_is_there(name: str):
    assert getattr(kcompile, name) is not None


def test_what_a_type_checker_sees_is_what_there_is():
    tree = ast.parse((ROOT / "compiler/kcompile/__init__.py").read_text())
    seen = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen - {"annotations", "TYPE_CHECKING", "Any", "import_module"} == set(kcompile.__all__) - {
        "__version__"
    }


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Session'"):
        _ = kcompile.Session


def test_a_public_name_is_no_submodule_s():
    """An import of kcompile.plan, were there such a module, would put it in the function's place."""
    folder = ROOT / "compiler" / "kcompile"
    modules = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert modules & set(kcompile.__all__) == {"errors"}


def test_the_import_alone_loads_nothing():
    probe = (
        "import sys, kcompile\n"
        "print(*sorted(n for n in sys.modules if n.startswith(('kcompile', 'msgspec', 'click'))))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["kcompile"]


@pytest.mark.parametrize("name", ["read_cluster", "compile", "plan", "apply"])
def test_functions_are_typed_and_say_what_they_raise(name: str):
    function = getattr(kcompile, name)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
    said = re.findall(r":raises errors\.(\w+):", function.__doc__)
    assert said
    assert all(issubclass(getattr(errors, each), errors.KcompileError) for each in said)


@pytest.mark.parametrize("name", [n for n in kcompile.__all__ if inspect.isclass(getattr(kcompile, n))])
def test_classes_and_their_members_are_documented(name: str):
    kind = getattr(kcompile, name)
    assert kind.__doc__
    if kind.__module__ == library.__name__:
        members = {k: v for k, v in vars(kind).items() if isinstance(v, property)}
        assert all(v.__doc__ for k, v in members.items() if not k.startswith("_"))


def test_docstrings_tell_the_truth():
    result = doctest.testmod(library, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 5
    assert not result.failed


def test_options_are_the_command_line_s():
    # parameters of read_cluster, compile and plan
    own = {"files", "objects", "config", "node", "netns", "mode"}
    assert set(typing.get_type_hints(kcompile.Options)) == set(Request.__struct_fields__) - own
    with pytest.raises(TypeError, match="scheduler"):
        kcompile.read_cluster(SERVICE, scheduler="rr")


def test_options_mean_what_they_mean_to_the_command():
    cluster = kcompile.read_cluster(
        {**SERVICE, "spec": {"ports": [{"port": 80}]}}, service_cidrs="10.99.0.0/24"
    )
    (service,) = cluster.inventory.services
    assert service.spec.cluster_ip.startswith("10.99.0.")
    with pytest.raises(errors.SpecError, match="unknown field"):
        kcompile.read_cluster({**SERVICE, "sepc": {}}, validate="strict")


def test_objects_are_not_changed_and_mix_with_files(tmp_path):
    (tmp_path / "other.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: other}\nspec: {ports: [{port: 81}]}\n"
    )
    given = {**SERVICE, "spec": {"ports": [{"port": 80}]}}
    before = msgspec.json.encode(given)
    cluster = kcompile.read_cluster([tmp_path, given], node="n")
    assert [service.key for service in cluster.inventory.services] == ["default/other", "default/web"]
    assert all(service.spec.cluster_ip for service in cluster.inventory.services)
    assert msgspec.json.encode(given) == before


def test_an_object_is_read_as_its_json(tmp_path):
    path = tmp_path / "service.json"
    path.write_bytes(msgspec.json.encode(SERVICE))
    texts = {
        kcompile.compile(kcompile.read_cluster(source)).text for source in (SERVICE, path, str(path), [path])
    }
    assert len(texts) == 1


def test_one_cluster_compiles_in_every_mode_and_again():
    cluster = kcompile.read_cluster(SERVICE)
    first = kcompile.compile(cluster)
    assert first.mode == "nftables"
    for mode in ("iptables", "ipvs", "xdp"):
        compiled = kcompile.compile(cluster, mode)
        assert compiled.mode == mode
        assert [view.service for view in compiled.frontends] == ["default/web"]
    assert kcompile.compile(cluster).text == first.text
    assert first.text == "".join(first.scripts.values())


def round_and_round():
    loop = {"kind": "Service"}
    loop["metadata"] = loop
    return loop


@pytest.mark.parametrize(
    ("sources", "error", "text"),
    [
        ([], errors.InputError, "no sources"),
        (
            {"kind": "Service"},
            errors.SpecError,
            "<objects>: document 1: Service: apiVersion: this field is required",
        ),
        ({**SERVICE, "spec": object()}, errors.SpecError, "<objects>: document 1: not plain data"),
        (round_and_round(), errors.SpecError, "<objects>: document 1: nested too deep"),
        (
            [SERVICE, {**SERVICE, "spec": {"ports": [{"port": 81}]}}],
            errors.SpecError,
            "document 2: Service default/web: defined twice",
        ),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}},
            errors.EmptyInputError,
            "no Service",
        ),
        ([7], TypeError, "int"),
        ("there/is/none.yaml", errors.SpecError, "there/is/none.yaml"),
    ],
)
def test_what_is_wrong_is_said(sources, error, text: str):
    with pytest.raises(error, match=re.escape(text)):
        kcompile.read_cluster(sources)


def test_a_mode_that_is_none_is_refused():
    with pytest.raises(errors.ConfigError, match="mode 'nft' is not one of"):
        kcompile.compile(kcompile.read_cluster(SERVICE), "nft")

"""Files as people have them: what kubectl reads is read, and what can't be says how it could."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest

from kcompile.errors import SpecError
from kcompile.spec.load import load
from kcompile.spec.validate import validate

from .make import endpoint, inventory, node, pod, service, slice_of

DATA = Path(__file__).parent / "data" / "input"
WEB = "apiVersion: v1\nkind: Service\nmetadata: {name: NAME}\nspec: {ports: [{port: 80}]}\n"
BOM = "\ufeff"


def names(*paths, **options):
    return [service.metadata.name for service in load([str(path) for path in paths], **options).services]


def read(text):
    found = load(["-"], stdin=io.BytesIO(text.encode()))
    return [service.metadata.name for service in found.services]


@pytest.mark.parametrize(
    ("file", "found"),
    [("flow.yaml", ["web"]), ("trailing-comma.json", ["web"]), ("bom-middle.yaml", ["web", "web2"])],
)
def test_cases(file, found):
    assert names(DATA / file) == found


def test_a_template_is_named_as_such():
    with pytest.raises(SpecError) as caught:
        names(DATA / "helm.yaml")
    assert str(caught.value) == (
        f"{DATA / 'helm.yaml'}: looks like an unrendered template ({{{{ .Release.Name }}}} in line 4): "
        "render it first (helm template ... | kcompile plan -f -)"
    )


def test_a_template_in_a_string_of_another_line_is_no_excuse():
    alert = "data:\n  rule: '{{ $labels.x }}'\n  more:\n    - a\n    - b\n    - c\n  broken: [\n"
    with pytest.raises(SpecError, match="bad YAML"):
        read("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n" + alert)
    assert read(f"{WEB}---\nkind: X\napiVersion: v1\nrule: '{{{{ $labels.x }}}}'\n") == ["NAME"]


@pytest.mark.parametrize(
    "text",
    [
        (
            '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, '
            '"spec": {"ports": [{"port": 80}]},}'
        ),
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}\n",
        "# a comment\n{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}\n",
        (
            '{"apiVersion": "v1", "kind": "Service", # as in YAML\n'
            '"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}}'
        ),
    ],
)
def test_nearly_json(text):
    assert read(text) == ["a"]


def test_nearly_json_after_json():
    good = (
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, '
        '"spec": {"ports": [{"port": 80}]}}\n'
    )
    assert read(good + good.replace('"a"', '"b"').replace("80}", "80,}")) == ["a", "b"]
    found = load(
        ["-"], stdin=io.BytesIO((good + "{apiVersion: v1, kind: Role, metadata: {name: r}}").encode())
    )
    assert [skipped.origin.document for skipped in found.skipped] == [2]
    with pytest.raises(SpecError, match=r"document 2: bad YAML at line 2, column 6"):
        read(good + "{a: b: c}")


@pytest.mark.parametrize("first", ["", "---\n", "# x\n"])
@pytest.mark.parametrize("second", [f"---\n{BOM}", f"{BOM}---\n", f"---\n{BOM}# y\n"])
def test_files_that_were_joined(first, second):
    assert read(BOM + first + WEB.replace("NAME", "a") + second + WEB.replace("NAME", "b")) == ["a", "b"]


@pytest.mark.parametrize("url", ["http://example.com/a.yaml", "https://example.com/a.yaml?x=1&y=2"])
def test_a_url_says_what_to_type(url):
    with pytest.raises(SpecError) as caught:
        names(url)
    assert (
        str(caught.value)
        == f"{url}: a URL is not fetched here: curl -sSL {shlex.quote(url)} | kcompile plan -f -"
    )


def test_folders_in_a_directory(tmp_path):
    for folder, name in (("", "c"), ("base", "b"), ("base/deep", "a")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "web.yaml").write_text(WEB.replace("NAME", name))
    (tmp_path / "base" / "README.md").write_text("{{ no manifest")
    assert names(tmp_path) == ["c"]
    assert names(tmp_path, recursive=True) == ["a", "b", "c"]
    (tmp_path / "web.yaml").unlink()
    with pytest.raises(SpecError, match="-R reads them too"):
        names(tmp_path)
    assert names(tmp_path / "base", recursive=True) == ["a", "b"]


def test_a_directory_in_a_circle(tmp_path):
    (tmp_path / "web.yaml").write_text(WEB.replace("NAME", "a"))
    (tmp_path / "again").symlink_to(tmp_path)
    assert names(tmp_path, recursive=True) == ["a"]


def command(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("tool", "arguments"), [("kubectl", "kustomize --"), ("kustomize", "build --")])
def test_a_kustomization(tmp_path, monkeypatch, tool, arguments):
    """`tool` stands in for the real one: what matters is how it is called, and what becomes of its answer."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    with pytest.raises(SpecError, match=r"not a directory with a kustomization\.yaml"):
        names(kustomizations=[str(overlay)])
    (overlay / "kustomization.yaml").write_text("resources: []\n")
    with pytest.raises(SpecError, match="-k needs kubectl or kustomize, and neither is on PATH"):
        names(kustomizations=[str(overlay)])
    document = WEB.replace("NAME", "made")
    command(tmp_path / "bin", tool, f'[ "$*" = "{arguments} {overlay}" ] || exit 9\nprintf %s "{document}"')
    found = load([], kustomizations=[str(overlay)])
    assert [(s.metadata.name, s.origin.source) for s in found.services] == [
        ("made", f"{overlay} (kustomize)")
    ]
    with pytest.raises(SpecError, match="more than the limit of 10 bytes"):
        names(kustomizations=[str(overlay)], max_bytes=10)
    command(tmp_path / "bin", tool, "echo accumulating resources: >&2; echo no such file >&2; exit 1")
    with pytest.raises(SpecError, match=r"failed: accumulating resources: no such file$"):
        names(kustomizations=[str(overlay)])


def stored(manifest):
    manifest["metadata"]["uid"] = "00000000-0000-4000-8000-000000000001"
    return manifest


BALANCER = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "192.0.02.2"}]}}


def endpoints_object(*addresses):
    subset = {"addresses": [{"ip": ip} for ip in addresses], "ports": [{"port": 80}]}
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "web", "namespace": "demo"},
        "subsets": [subset],
    }


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (service(externalIPs=["010.0.0.1", "192.0.2.1"]), "spec.externalIPs[0]"),
        (service(type="LoadBalancer", status=BALANCER), "status.loadBalancer.ingress[1].ip"),
        (service(clusterIP="010.96.0.1"), "spec.clusterIP"),
        (slice_of(endpoint("10.244.0.1"), endpoint("10.244.00.2")), "endpoints[1].addresses[0]"),
        (endpoints_object("10.244.0.1", "10.244.0.02"), "subsets[0].addresses[1].ip"),
        (pod(ip=["010.244.0.1"]), "status.podIP"),
        (node(addresses=[("InternalIP", "192.168.0.01")]), "status.addresses[0].address"),
    ],
)
def test_leading_zeros_in_what_a_cluster_has_stored(manifest, field):
    with pytest.raises(SpecError):
        validate(inventory(manifest))
    found = inventory(stored(manifest))
    validate(found)
    assert (found.warnings[0].id, found.warnings[0].field) == ("bad-address", field)
    assert found.warnings[0].object.endswith(("demo/web", "demo/web-1", "demo/web-0", "Node node-a"))


def test_only_the_one_address_is_left_out():
    found = inventory(
        stored(service(externalIPs=["010.0.0.1", "192.0.2.1"])),
        stored(slice_of(endpoint("10.244.0.1"), endpoint("10.244.00.2"))),
        stored(service("own", clusterIP="010.96.0.1")),
    )
    validate(found)
    assert [str(notice) for notice in found.warnings] == [
        (
            'test.json: Service demo/web: spec.externalIPs[0]: "010.0.0.1" is left out: '
            "to some its leading zeros mean octal numbers"
        ),
        (
            'test.json: Service demo/own: spec.clusterIP: "010.96.0.1" has leading zeros, '
            "which to some mean octal numbers: the Service is left out"
        ),
        (
            'test.json: EndpointSlice demo/web-1: endpoints[1].addresses[0]: "10.244.00.2" is left out: '
            "to some its leading zeros mean octal numbers"
        ),
    ]
    assert [s.metadata.name for s in found.services] == ["web"]
    assert found.services[0].spec.external_ips == ["192.0.2.1"]
    assert [e.addresses for e in found.endpoint_slices[0].endpoints] == [["10.244.0.1"]]


def test_an_address_that_ends_in_colons_in_an_object_that_is_skipped():
    assert read(
        f"{WEB}---\napiVersion: x/v1\nkind: IPPool\nspec: {{cidrs: [001:db8::], first: 001:db8::}}\n"
    ) == ["NAME"]

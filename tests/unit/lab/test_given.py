"""Manifests that a user gives to a lab: read, checked, applied."""

from pathlib import Path

import pytest

from kcompile.errors import ConfigError, SpecError
from kcompile.lab.applying import change
from kcompile.lab.given import check, missing_namespaces, read_given
from kcompile.lab.runnable import check_images, no_effect
from kcompile.lab.waiting import Named
from kcompile.spec.cluster import ClusterSettings

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: IMAGE}], hostPID: true}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: NS, labels: {app: web, more: x}}
spec: {nodeName: n, containers: [{name: c, image: x}]}
"""


def given(tmp_path: Path, *texts: str):
    path = tmp_path / "given.yaml"
    path.write_text("---".join(texts))
    return read_given([str(path)])


def test_namespaces_come_first_and_names_get_theirs(tmp_path: Path):
    service = "\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n"
    space = "\napiVersion: v1\nkind: Namespace\nmetadata: {name: own}\n"
    found, notices = given(tmp_path, service, DEPLOYMENT, space, "\nkind: Ingress\nmetadata: {name: i}\n")
    assert [each.named for each in found] == [
        Named("Namespace", "", "own"),
        Named("Service", "default", "s"),
        Named("Deployment", "shop", "web"),
    ]
    assert missing_namespaces(found) == ["shop"]
    assert len(notices) == 1


def test_pods_that_a_deployment_selects_are_of_another_cluster(tmp_path: Path):
    found, _ = given(tmp_path, DEPLOYMENT, POD.replace("NS", "shop"), POD.replace("NS", "other"))
    assert [each.named.namespace for each in found if each.named.kind == "Pod"] == ["other"]


def test_what_the_server_refuses_names_file_object_and_field(tmp_path: Path):
    found, _ = given(tmp_path, DEPLOYMENT.replace("{name: c, ", "{"))
    with pytest.raises(SpecError) as refused:
        check(found, ClusterSettings())
    assert str(refused.value).startswith(
        f"{tmp_path}/given.yaml: document 1: Deployment shop/web: spec.template"
    )


def test_every_unknown_image_is_named_with_a_file_to_fill_in(tmp_path: Path):
    texts = [
        DEPLOYMENT.replace("IMAGE", "example.org/a:1"),
        POD.replace("NS", "x").replace("image: x", "image: b"),
    ]
    found, _ = given(tmp_path, *texts)
    with pytest.raises(ConfigError) as refused:
        check_images(found, {}, stand_ins=False)
    said = str(refused.value)
    assert "example.org/a:1 (Deployment shop/web), b (Pod x/web-1)" in said
    assert '"example.org/a": {command: [/usr/bin/program]' in said
    check_images(found, {}, stand_ins=True)
    check_images(found, {"example.org/a": {"command": ["true"]}, "b": {"from": "busybox"}}, stand_ins=False)


def test_what_has_no_effect_is_said(tmp_path: Path):
    found, _ = given(tmp_path, DEPLOYMENT)
    assert "Deployment shop/web: no effect in a lab: hostPID" in no_effect(found)[0].text


def test_a_patch_takes_away_what_went_from_the_manifest():
    last = {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30005}], "selector": {"a": "b"}}}
    new = {"spec": {"ports": [{"port": 80}], "selector": {"a": "c"}}}
    assert change(last, new) == {
        "spec": {"type": None, "ports": [{"port": 80}], "selector": {"a": "c"}},
    }
    assert change({}, new) == new

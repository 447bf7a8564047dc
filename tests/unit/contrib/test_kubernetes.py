"""The manifests in contrib/kubernetes: valid for the API server, minimal in what they allow, and the same in
every mode but for what the mode needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from harness.imports import ROOT
from kcompile.agent.api.resources import resources
from kcompile.cli.run import command as run
from kcompile.modes import MODES
from kcompile.spec.config import load_config

FOLDER = ROOT / "contrib/kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
NAMES = sorted({mode.family for mode in MODES.values()})

# rbac.authorization.k8s.io/v1, which the published schemas beside this file don't have
STRING = {"type": "string"}
STRINGS = {"type": "array", "items": STRING}
RBAC = {
    "ClusterRole": {
        "required": ["rules"],
        "properties": {
            "metadata": {"ref": "apis.meta.v1.ObjectMeta"},
            "rules": {"type": "array", "items": {"ref": "PolicyRule"}},
        },
    },
    "PolicyRule": {
        "required": ["apiGroups", "resources", "verbs"],
        "properties": dict.fromkeys(("apiGroups", "resources", "resourceNames", "verbs"), STRINGS),
    },
    "ClusterRoleBinding": {
        "required": ["roleRef"],
        "properties": {
            "metadata": {"ref": "apis.meta.v1.ObjectMeta"},
            "roleRef": {"ref": "RoleRef"},
            "subjects": {"type": "array", "items": {"ref": "Subject"}},
        },
    },
    "RoleRef": {
        "required": ["apiGroup", "kind", "name"],
        "properties": dict.fromkeys(("apiGroup", "kind", "name"), STRING),
    },
    "Subject": {
        "required": ["kind", "name"],
        "properties": dict.fromkeys(("apiGroup", "kind", "name", "namespace"), STRING),
    },
}
PUBLISHED = json.loads((ROOT / "tests/unit/contrib/schemas.json").read_text())
SCHEMAS: dict[str, Any] = PUBLISHED["schemas"] | RBAC
KINDS = PUBLISHED["kinds"] | {
    f"rbac.authorization.k8s.io/v1/{kind}": kind for kind in ("ClusterRole", "ClusterRoleBinding")
}
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
}


def errors(schema: dict[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """What an API server with strict validation would refuse in `value`."""
    schema = schema | SCHEMAS.get(schema.get("ref", ""), {})
    if "ref" in schema and schema["ref"] not in SCHEMAS:
        yield f"{path}: {schema['ref']}: add it to schemas.json"
    expected = (str, int) if schema.get("format") == "int-or-string" else TYPES.get(schema.get("type", ""))
    if expected and (not isinstance(value, expected) or (expected is int and isinstance(value, bool))):
        yield f"{path}: {value!r} is no {schema.get('type', 'int or string')}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from errors(schema.get("items", {}), item, f"{path}[{index}]")
    elif isinstance(value, dict):
        yield from (f"{path}.{name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, item in value.items():
            known = schema.get("properties", {}).get(name, schema.get("values"))
            if known is None:
                yield f"{path}.{name}: unknown field"
            else:
                yield from errors(known, item, f"{path}.{name}")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text()))


def test_the_checker_refuses_what_an_api_server_would():
    _, daemonset = documents("nftables")
    container = daemonset["spec"]["template"]["spec"]["containers"][0]
    container["imagePullPolicies"] = "Always"
    container["securityContext"]["readOnlyRootFilesystem"] = "yes"
    container["securityContext"]["seccompProfile"]["type"] = "Default"
    del container["volumeMounts"][0]["name"]
    container["env"][0]["value"] = 7
    place = ".spec.template.spec.containers[0]"
    assert sorted(errors({"ref": "apps.v1.DaemonSet"}, daemonset)) == [
        f"{place}.env[0].value: 7 is no string",
        f"{place}.imagePullPolicies: unknown field",
        f"{place}.securityContext.readOnlyRootFilesystem: 'yes' is no boolean",
        f"{place}.securityContext.seccompProfile.type: 'Default'",
        f"{place}.volumeMounts[0].name is missing",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_object_is_valid(path):
    for document in yaml.safe_load_all(path.read_text()):
        schema = SCHEMAS[KINDS[f"{document['apiVersion']}/{document['kind']}"]]
        known = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}} | schema["properties"]
        assert list(errors(schema | {"properties": known}, document)) == []


def test_every_mode_has_its_file():
    assert [path.stem for path in FILES] == sorted([*NAMES, "rbac"])


def test_the_role_allows_what_the_agent_follows_and_no_more():
    account, role, binding = documents("rbac")
    allowed = {
        (group, resource): rule["verbs"]
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    followed = set()
    for each in resources("n"):
        group = each.path.split("/")[2] if each.path.startswith("/apis/") else ""
        followed.add((group, each.plural))
    assert set(allowed) == followed
    assert all(verbs == ["list", "watch"] for verbs in allowed.values())
    assert not any("resourceNames" in rule for rule in role["rules"])
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == tuple(account["metadata"].values())
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of `value`; items of lists go by their name where they have one, and lists of words are one
    leaf.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            yield from flat(item, f"{path}.{name}")
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for item in value:
            yield from flat(item, f"{path}[{item.get('name', '')}]")
    else:
        yield path, tuple(value) if isinstance(value, list) else value


LOCK = {
    "volumeMounts[xtables-lock].mountPath": "/run/xtables.lock",
    "volumes[xtables-lock].hostPath.path": "/run/xtables.lock",
}
DIFFERENCES: dict[str, dict[str, Any]] = {
    "nftables": {},
    "iptables": {"add": ("NET_ADMIN", "NET_RAW"), **LOCK},
    "ipvs": {"add": ("NET_ADMIN", "NET_RAW"), **LOCK},
    "xdp": {
        "add": ("NET_ADMIN", "BPF", "PERFMON"),
        "env[KCOMPILE_CGROUP].value": "/host/cgroup",
        "volumeMounts[bpffs].mountPath": "/sys/fs/bpf",
        "volumeMounts[cgroup].mountPath": "/host/cgroup",
        "volumes[bpffs].hostPath.path": "/sys/fs/bpf",
        "volumes[cgroup].hostPath.path": "/sys/fs/cgroup",
    },
}


@pytest.mark.parametrize("mode", NAMES)
def test_modes_differ_in_what_they_need_alone(mode):
    _, plain = documents("nftables")
    configuration, daemonset = documents(mode)
    common, own = dict(flat(plain)), dict(flat(daemonset))
    assert not common.keys() - own.keys()
    different = {path: value for path, value in own.items() if common.get(path) != value}
    arguments = different.pop(".spec.template.spec.containers[kcompile].args", None)
    assert (arguments is None) == (mode == "nftables")
    different = {path: v for path, v in different.items() if not path.endswith((".name", "hostPath.type"))}
    expected = DIFFERENCES[mode]
    assert len(different) == len(expected)
    for ending, value in expected.items():
        assert [v for path, v in different.items() if path.endswith(ending)] == [value]
    assert configuration["data"].keys() == {"apiServerHost", "apiServerPort", "config.yaml"}


@pytest.mark.parametrize("mode", NAMES)
def test_the_agent_understands_its_arguments_and_configuration(mode, tmp_path):
    configuration, daemonset = documents(mode)
    path = tmp_path / "config.yaml"
    path.write_text(configuration["data"]["config.yaml"])
    container = daemonset["spec"]["template"]["spec"]["containers"][0]
    verb, *arguments = [str(path) if a.startswith("/etc/kcompile/") else a for a in container["args"]]
    with run.make_context(verb, arguments) as context:
        assert context.params["mode"] == mode
        assert context.params["config"] == str(path)
    assert not load_config(str(path)).warnings

"""The kinds and fields that only a lab reads: containers, volumes, ConfigMaps, Secrets, Deployments
(k8s.io/api/core/v1, apps/v1).
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ConfigMap",
    "Container",
    "Deployment",
    "EnvFrom",
    "EnvVar",
    "KeyToPath",
    "NamedRef",
    "PodManifest",
    "PodSpec",
    "Secret",
    "Volume",
    "VolumeMount",
]


class _K8s(msgspec.Struct, rename="camel"):
    pass


class _Metadata(_K8s):
    name: str = ""
    namespace: str = "default"
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Key(_K8s):
    name: str
    key: str
    optional: bool = False


class _Field(_K8s):
    field_path: str


class _EnvSource(_K8s):
    field_ref: _Field | None = None
    config_map_key_ref: _Key | None = None
    secret_key_ref: _Key | None = None


class EnvVar(_K8s):
    name: str
    value: str = ""
    value_from: _EnvSource | None = None


class NamedRef(_K8s):
    name: str
    optional: bool = False


class EnvFrom(_K8s):
    prefix: str = ""
    config_map_ref: NamedRef | None = None
    secret_ref: NamedRef | None = None


class VolumeMount(_K8s):
    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False


class KeyToPath(_K8s):
    key: str
    path: str


class _ConfigMapVolume(_K8s):
    name: str
    items: list[KeyToPath] | None = None
    optional: bool = False


class _SecretVolume(_K8s):
    secret_name: str
    items: list[KeyToPath] | None = None
    optional: bool = False


class _HostPath(_K8s):
    path: str


class Volume(_K8s):
    name: str
    config_map: _ConfigMapVolume | None = None
    secret: _SecretVolume | None = None
    host_path: _HostPath | None = None
    empty_dir: dict[str, Any] | None = None


class _Port(_K8s):
    container_port: int
    protocol: str = "TCP"


class Container(_K8s):
    name: str
    image: str
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    env_from: list[EnvFrom] | None = None
    ports: list[_Port] | None = None
    volume_mounts: list[VolumeMount] | None = None
    working_dir: str = ""


class PodSpec(_K8s):
    containers: list[Container]
    volumes: list[Volume] | None = None
    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    hostname: str | None = None
    subdomain: str | None = None
    host_network: bool = False
    restart_policy: str = "Always"
    init_containers: list[Any] | None = None


class PodManifest(_K8s):
    spec: PodSpec
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Selector(_K8s):
    match_labels: dict[str, str] | None = None


class _DeploymentSpec(_K8s):
    template: PodManifest
    selector: _Selector
    replicas: int | None = 1


class Deployment(_K8s):
    spec: _DeploymentSpec
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class ConfigMap(_K8s):
    data: dict[str, str] | None = None
    binary_data: dict[str, bytes] | None = None  # msgspec decodes base64


class Secret(_K8s):
    data: dict[str, bytes] | None = None
    string_data: dict[str, str] | None = None

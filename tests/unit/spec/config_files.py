"""Configuration files for tests: kube-proxy's kind, kcompile's short form, and the folder of whole files."""

from __future__ import annotations

from pathlib import Path

import yaml

from kcompile.spec.config import Config, load_config

PROXY = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
FILES = Path(__file__).parent / "configurations"
SHORT = {"apiVersion": "kcompile.dev/v1alpha1", "kind": "CompilerConfiguration"}


def loaded(tmp_path, *documents) -> Config:
    path = tmp_path / "config.yaml"
    path.write_text(documents[0] if isinstance(documents[0], str) else yaml.safe_dump_all(documents))
    return load_config(str(path))

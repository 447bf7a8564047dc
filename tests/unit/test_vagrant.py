"""The virtual machines' files, as far as that goes without starting one: `make test-vagrant` does."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kcompile.spec.load import load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "vagrant"
SHELL = re.compile(rb"#!(/bin/|/usr/bin/env )(ba|da)?sh\b")
SCRIPTS = [
    path
    for folder in (FOLDER, FOLDER / "provision", ROOT / "contrib" / "dev", ROOT / ".ci")
    for path in sorted(folder.iterdir())
    if path.is_file() and SHELL.match(path.read_bytes())
]


def need(*commands: str) -> None:
    for command in commands:
        if not shutil.which(command):
            pytest.skip(f"there is no {command} here: contrib/dev/setup test")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_shellcheck_finds_nothing(script: Path):
    need("shellcheck")
    assert os.access(script, os.X_OK)
    done = subprocess.run(["shellcheck", name(script)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_every_script_of_the_folder_is_checked():
    others = {
        name(p) for p in [*FOLDER.iterdir(), *FOLDER.glob("provision/*")] if p.is_file() and p not in SCRIPTS
    }
    assert others == {"vagrant/Vagrantfile", "vagrant/provision/packages.txt", "vagrant/provision/pods.py"}


def validate(
    folder: Path, scratch: Path, provider: str, settings: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """`vagrant validate` with nothing of the user's.

    It wants to hear VirtualBox's version before it checks the settings for it.
    """
    (scratch / "VBoxManage").write_text("#!/bin/sh\necho 7.0.8r156879\n")
    (scratch / "VBoxManage").chmod(0o755)
    environment = {
        "PATH": f"{scratch}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(scratch),
        "VAGRANT_HOME": str(scratch / "home"),
        "VAGRANT_DOTFILE_PATH": str(scratch / "dot"),
        "VAGRANT_CWD": str(folder),
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        "VAGRANT_DEFAULT_PROVIDER": provider,
    }
    return subprocess.run(
        ["vagrant", "validate", "--no-color"],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
        cwd=scratch,
    )


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "KCOMPILE_BOX": "kcompile",
            "KCOMPILE_NODES": "1",
            "KCOMPILE_CLIENT": "no",
            "KCOMPILE_DRIVER": "qemu",
            "KCOMPILE_POOL": "/srv",
        },
        {
            "KCOMPILE_NODES": "16",
            "KCOMPILE_MEMORY": "2048",
            "KCOMPILE_CPUS": "2",
            "KCOMPILE_MODE": "nftables",
        },
    ],
    ids=["defaults", "small", "large"],
)
def test_vagrant_validate(tmp_path: Path, provider: str, settings: dict[str, str]):
    need("vagrant")
    done = validate(FOLDER, tmp_path, provider, settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert "validated successfully" in done.stdout
    assert "gnoring provider config" not in done.stdout


@pytest.mark.parametrize("provider", ["libvirt", "virtualbox"])
def test_vagrant_validate_would_find_a_wrong_setting_of_a_provider(tmp_path: Path, provider: str):
    need("vagrant")
    wrong = tmp_path / "checkout" / "vagrant"
    wrong.mkdir(parents=True)
    (wrong.parent / "examples").symlink_to(ROOT / "examples")
    (wrong / "Vagrantfile").write_text(
        (FOLDER / "Vagrantfile").read_text().replace(f"{provider}.cpus =", f"{provider}.cpuss =")
    )
    done = validate(wrong, tmp_path, provider, {})
    assert done.returncode != 0
    assert "cpuss" in done.stderr


@pytest.mark.parametrize(
    ("setting", "value"), [("NODES", "0"), ("NODES", "17"), ("MEMORY", "lots"), ("CPUS", "-1")]
)
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, setting: str, value: str):
    need("vagrant")
    done = validate(FOLDER, tmp_path, "libvirt", {f"KCOMPILE_{setting}": value})
    assert done.returncode != 0
    assert f"KCOMPILE_{setting}: " in done.stderr


def test_nodes_beyond_the_samples_are_nodes_to_kcompile(tmp_path: Path):
    need("ruby")
    show = (
        "module Vagrant; def self.configure(_) = nil; end; "
        "eval(File.read(ARGV[0]) + 'puts told[ARGV[1]]', binding, ARGV[0])"
    )
    shown = {
        variable: subprocess.run(
            ["ruby", "-e", show, str(FOLDER / "Vagrantfile"), variable],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "KCOMPILE_NODES": "4"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for variable in ("MORE_NODES", "HOSTS")
    }
    (tmp_path / "more-nodes.json").write_text(shown["MORE_NODES"])
    loaded = load([str(tmp_path), str(ROOT / "examples" / "nginx-tomcat" / "nodes.yaml")])
    assert sorted(node.metadata.name for node in loaded.nodes) == ["node-a", "node-b", "node-c", "node-d"]
    assert shown["HOSTS"].splitlines() == [
        "192.0.2.10 node-a",
        "192.0.2.11 node-b",
        "192.0.2.12 node-c",
        "192.0.2.13 node-d",
        "192.0.2.100 client",
    ]


def test_nodes_get_the_packages_that_the_install_page_names():
    page = (ROOT / "docs" / "howto" / "install.md").read_text()
    named = re.findall(r"^    apt-get install (.*)$", page, re.MULTILINE)
    given = [
        line
        for line in (FOLDER / "provision" / "packages.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert given == sorted(given)
    assert set(named[0].split()) <= set(given)

"""What an ordinary user could have written decides nothing that root does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import ebpf, modes, netns
from harness.console import Console, services
from kcompile.errors import KernelError, UnsafeError
from kcompile.kernel import sysctl
from kcompile.kernel.bpf import compiler, programs

pytestmark = pytest.mark.kernel
NOBODY = 65534
LINK = ["link add eth0 type veth peer name peer0", "link set eth0 up", "addr add 192.0.2.10/24 dev eth0"]


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with netns.group(["node"]) as names:
        netns.batch(LINK, names["node"])
        made = Console(names["node"], tmp_path)
        yield made
        for folder in (made.run_folder, made.directory):
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o700)
        made.run("delete")


def specs(console: Console) -> tuple[str, ...]:
    health = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30900}
    return ("-f", console.write(services(1, **health)), "--node", "node-a")


def modes_of(folder: Path) -> dict[str, int]:
    found = {str(path.relative_to(folder)): path.stat().st_mode & 0o7777 for path in folder.rglob("*")}
    return {name: mode for name, mode in found.items() if mode & 0o077}


@pytest.mark.parametrize("umask", [0, 0o022])
@pytest.mark.parametrize("mode", ["nftables", "xdp"])
def test_nobody_else_can_read_or_write_what_is_kept(mode: str, umask: int, console: Console, tmp_path: Path):
    if reason := modes.missing(mode):
        pytest.skip(reason)
    with ebpf.room("xdp-tc", tmp_path) if mode == "xdp" else ebpf.room(mode, tmp_path):
        env = {
            "KCOMPILE_BPF_DIR": str(tmp_path / "bpf"),
            "KCOMPILE_CACHE_DIR": str(tmp_path / "run/deep/cache"),
        }
        options = ("--mode", mode, *(("--socket-lb", "off") if mode == "xdp" else ()))
        console.run("apply", *specs(console), *options, env=env, before=lambda: os.umask(umask) and None)
        for folder in (tmp_path / "run", tmp_path / "state"):
            objects = folder / "objects"  # the harness's own
            found = {
                name: bits
                for name, bits in modes_of(folder).items()
                if not objects.is_symlink() or name != "objects"
            }
            assert found == {}
            harness_made = folder == tmp_path / "run"
            assert harness_made or folder.stat().st_mode & 0o7777 == 0o700
        console.run("delete")


@pytest.mark.parametrize("verb", ["apply", "plan", "delete", "get", "doctor"])
@pytest.mark.parametrize("which", ["base", "own"])
def test_a_run_folder_that_others_can_write(which: str, verb: str, console: Console):
    words = {
        "apply": ["apply", *specs(console)],
        "plan": ["plan", *specs(console)],
        "get": ["get", "services"],
    }.get(verb, [verb])
    console.run("apply", *specs(console))
    folder = console.run_folder if which == "base" else console.directory
    folder.chmod(0o777)
    before = netns.run(console.namespace, ["nft", "list", "ruleset"]).stdout
    said = console.run(*words, code=1)
    assert said == f"kcompile: others can write to the folder {folder}: chmod go-w {folder}\n"
    assert netns.run(console.namespace, ["nft", "list", "ruleset"]).stdout == before
    subprocess.run(said.rpartition(": ")[2].split(), check=True)
    if verb != "doctor":  # what it finds is another matter
        console.run(*words)


@pytest.mark.parametrize("which", ["base", "own"])
def test_a_state_folder_that_others_can_write(which: str, console: Console, tmp_path: Path):
    console.run("apply", *specs(console))
    folder = tmp_path / "state" if which == "base" else tmp_path / "state" / f"netns-{console.namespace}"
    folder.chmod(0o777)
    assert console.run("apply", *specs(console), code=1).endswith(
        f"others can write to the folder {folder}: chmod go-w {folder}\n"
    )
    folder.chmod(0o755)
    console.run("apply", *specs(console))


def test_a_run_folder_of_somebody_else(console: Console):
    console.run_folder.mkdir(0o700)
    os.chown(console.run_folder, NOBODY, NOBODY)
    assert f"{console.run_folder} belongs to user {NOBODY}" in console.run("apply", *specs(console), code=1)
    os.chown(console.run_folder, 0, 0)


@pytest.mark.parametrize("name", ["state.json", "applied.msgpack", "health.json", "health.pid", "lock"])
def test_a_link_in_the_run_folder_is_not_followed(name: str, console: Console, tmp_path: Path):
    console.run("apply", *specs(console))
    target = tmp_path / "precious"
    target.write_text("precious")
    (console.directory / name).unlink()
    (console.directory / name).symlink_to(target)
    said = console.run("apply", *specs(console), code=1)
    assert said.count("\n") == 1, said
    assert str(console.directory / name) in said
    assert target.read_text() == "precious"
    (console.directory / name).unlink()


@pytest.mark.parametrize("field", ["sysctls", "ipvs_timeouts"])
@pytest.mark.parametrize("verb", ["apply", "delete"])
def test_state_that_names_what_kcompile_never_sets(verb: str, field: str, console: Console, tmp_path: Path):
    console.run("apply", *specs(console))
    target = tmp_path / "precious"
    target.write_text("precious")
    path = console.directory / "state.json"
    good = path.read_bytes()
    state = json.loads(good)
    name = f"rel/../../..{target}"
    path.write_text(json.dumps({**state, field: {name: "0"}}))
    said = console.run(verb, *(specs(console) if verb == "apply" else ()), code=1)
    assert said.endswith(f"never sets, {name!r}: rm {path}\n")
    assert target.read_text() == "precious"
    path.write_bytes(good)
    console.run("delete")
    assert console.sysctl("net.ipv4.ip_forward") == "0"


@pytest.mark.parametrize(
    "name", ["rel/../../../etc/x", "..", "net.ipv4.../x", "net/ipv4/ip_forward", "net.ipv4.ip_forward\n", ""]
)
def test_a_name_that_is_no_sysctl_is_no_path(name: str):
    with pytest.raises(KernelError, match="no such name"):
        sysctl.write(name, "0")
    with pytest.raises(KernelError, match="no such name"):
        sysctl.read(name)


HEADERS = '#include "consts.h"\n#include "structs.h"\n#include "maps.h"\n'
TEXT = HEADERS + "int one(void *context) { return 1; }"
OTHER = HEADERS + "int one(void *context) { return 2; }"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    if not compiler.DEBIAN.exists():
        pytest.skip("no bcc")
    return tmp_path / "cache"


def test_a_cached_object_that_was_replaced_is_not_loaded(cache: Path):
    right = programs.compile_text(TEXT, (), cache)
    (path,) = cache.iterdir()
    wrong = programs.compile_text(OTHER, (), cache)
    (other,) = set(cache.iterdir()) - {path}
    assert right != wrong
    good = path.read_bytes()
    for bad in (
        other.read_bytes(),
        good[:-1],
        good + b"x",
        b"",
        good[: len(good) // 2] + bytes(8) + good[len(good) // 2 + 8 :],
    ):
        path.write_bytes(bad)
        assert programs.compile_text(TEXT, (), cache) == right
        assert path.read_bytes() == good
    shutil.copy(other, path)
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(UnsafeError, match=f"{path} belongs to user {NOBODY}"):
        programs.compile_text(TEXT, (), cache)
    path.unlink()
    path.symlink_to(other)
    with pytest.raises(UnsafeError, match=f"{path} is a link"):
        programs.compile_text(TEXT, (), cache)


def test_a_cache_that_others_can_write_is_refused(cache: Path):
    programs.compile_text(TEXT, (), cache)
    cache.chmod(0o777)
    with pytest.raises(UnsafeError, match=f"chmod go-w {cache}$"):
        programs.compile_text(TEXT, (), cache)
    with pytest.raises(UnsafeError, match=f"chmod go-w {cache}$"):
        programs.compile_text(OTHER, (), cache)

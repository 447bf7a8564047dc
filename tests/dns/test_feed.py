"""``kcompile dns feed``: other name servers take what it writes."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import prefork
from harness.fed import fed
from harness.nameserver import CLUSTER


def program(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin")
    if not found:
        pytest.skip(f"no {name}")
    return found


def command(kind: str, folder: Path, manifests: Path, *options: str) -> list[str]:
    given = ["-f", str(manifests), "--state", str(folder / "none.json")]
    return ["dns", "feed", "--to", kind, "--directory", str(folder / kind), *given, *options]


def once(kind: str, folder: Path) -> Path:
    """Feed the records of cluster.yaml to a server; the directory."""
    output = folder / "output"
    code = prefork.run(command(kind, folder, CLUSTER, "--once"), os.environ, folder, output)
    assert code == 0, output.read_text()
    return folder / kind


def test_bind_takes_every_zone(tmp_path: Path):
    folder = once("bind", tmp_path)
    listed = (folder / "named.conf.kcompile").read_text()
    zones = re.findall(r'zone "(.*?)" \{ type primary; file "(.*?)"; \};', listed)
    assert len(zones) == len(list(folder.glob("db.*"))) > 18
    for zone, path in zones:
        if path.endswith((".local", "96.10.in-addr.arpa", ".ip6.arpa")):
            checked = [program("named-checkzone"), "-i", "full", zone, path]
            done = subprocess.run(checked, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout


def test_the_lists_of_the_others(tmp_path: Path):
    lists = {
        "nsd": 'zone:\n  name: "cluster.local"\n  zonefile: "',
        "coredns": "cluster.local:53 {\n    file /",
    }
    for kind, start in lists.items():
        folder = once(kind, tmp_path)
        (listed,) = [path for path in folder.iterdir() if not path.name.startswith("db.")]
        assert listed.read_text().startswith(start)


@contextlib.contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_changes_are_written_and_a_bad_manifest_is_survived(tmp_path: Path):
    manifests, told = tmp_path / "cluster.yaml", tmp_path / "told"
    manifests.write_text(CLUSTER.read_text())
    words = command("dnsmasq", tmp_path, manifests, "--reload", f"touch {told}")
    with started(sys.executable, "-m", "kcompile", *words) as feed:
        assert feed.stdout.readline().startswith("Wrote ")
        manifests.write_text(CLUSTER.read_text().replace("10.96.0.80", "10.96.0.99"))
        assert feed.stdout.readline().startswith("Wrote ")
        manifests.write_text("kind: [")
        assert "still serving what was there before" in feed.stderr.readline()
        assert "10.96.0.99\tweb.shop.svc.cluster.local" in (tmp_path / "dnsmasq/hosts").read_text()
        assert told.exists()
        feed.terminate()
        assert feed.wait(timeout=10) == 0


def test_a_reload_that_fails_is_told_and_tried_again(tmp_path: Path):
    words = [sys.executable, "-m", "kcompile", *command("nsd", tmp_path, CLUSTER, "--reload", "ls /nowhere")]
    with started(*words) as feed:
        assert "ls /nowhere: exit code 2" in feed.stderr.readline()


def test_unchanged_zones_keep_their_files(tmp_path: Path):
    folder = tmp_path / "coredns"
    manifests = tmp_path / "cluster.json"

    def write(port: int) -> None:
        spec = {"clusterIP": "10.96.0.80", "ports": [{"name": "http", "port": port}]}
        meta = {"name": "web", "namespace": "shop"}
        (tmp_path / "next").write_text(
            json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        )
        (tmp_path / "next").rename(manifests)

    def files() -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in folder.iterdir()}

    write(80)
    with started(sys.executable, "-m", "kcompile", *command("coredns", tmp_path, manifests)) as feed:
        assert feed.stdout.readline()
        before = files()
        write(81)
        assert feed.stdout.readline()
        after = files()
    assert [name for name in after if before[name] != after[name]] == ["db.cluster.local"]


def test_no_change_is_lost_where_many_come(tmp_path: Path):
    """bench/trials/dns_feed.py does so for a minute, with real servers."""
    found = fed("coredns", tmp_path, 1.0, services=50)
    assert found.missing == []
    assert found.changes > 10
    assert found.writes < found.changes

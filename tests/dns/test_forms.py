"""What render prints is what serve answers; and serve follows its files."""

import json
import subprocess
import sys
import time
from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype
import dns.zone
import pytest

from harness.nameserver import CLUSTER, serving


def render(*options: str, manifests: Path = CLUSTER, code: int = 0) -> str:
    command = [
        sys.executable,
        "-m",
        "kcompile",
        "dns",
        "render",
        "-f",
        str(manifests),
        "--state",
        str(manifests.parent / "none.json"),
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_every_record_of_the_zone_files_is_served(port: int):
    asked = 0
    for name in ("cluster.local", "in-addr.arpa", "ip6.arpa"):
        zone = dns.zone.from_text(render("-o", "zone", "--zone", name), relativize=False)
        for owner, rdataset in zone.iterate_rdatasets():
            kind = dns.rdatatype.to_text(rdataset.rdtype)
            if kind == "SOA":
                continue  # whose serial is the time
            reply = dns.query.udp(dns.message.make_query(owner, kind), "127.0.0.1", port=port, timeout=5)
            assert set(reply.answer[0]) == set(rdataset), f"{owner} {kind}"
            asked += 1
    assert asked > 30


def test_json_says_the_same():
    listed = {(r["name"], r["type"]): set(r["data"]) for r in json.loads(render("-o", "json"))}
    zone = dns.zone.from_text(render("-o", "zone", "--zone", "cluster.local"), relativize=False)
    for owner, rdataset in zone.iterate_rdatasets():
        kind = dns.rdatatype.to_text(rdataset.rdtype)
        if kind != "SOA":
            assert listed[owner.to_text(), kind] == {r.to_text() for r in rdataset}


def test_hosts_has_an_address_a_line():
    lines = dict(line.split("\t") for line in render("-o", "hosts").splitlines())
    assert lines["10.96.0.80"] == "web.shop.svc.cluster.local"
    assert lines["10.244.0.5"].split() == [
        "db.shop.svc.cluster.local",
        "first.db.shop.svc.cluster.local",
        "peers.shop.svc.cluster.local",
        "10-244-0-5.peers.shop.svc.cluster.local",
        "10-244-0-5.shop.pod.cluster.local",
    ]


def test_the_corefile_names_the_zone_files():
    text = render("-o", "corefile", "--directory", "/srv/zones/", "--cluster-domain", "a.b")
    assert [line for line in text.splitlines() if not line.startswith(" ") and line != "}"] == [
        "a.b:53 {",
        "in-addr.arpa:53 {",
        "ip6.arpa:53 {",
    ]
    assert "    file /srv/zones/db.a.b {" in text.splitlines()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--cluster-domain", "a..b"], "--cluster-domain a..b: not a domain name"),
        (["--address", "ns1"], "--address ns1: not an IP address"),
        (
            ["--zone", "example.com"],
            "--zone example.com: the zones are cluster.local, in-addr.arpa, ip6.arpa",
        ),
    ],
)
def test_bad_options(options: list[str], says: str):
    assert render(*options, code=2) == f"kcompile: {says}\n"


def test_addresses_are_those_that_apply_allocated(tmp_path: Path):
    """With the same state file; and the state is only read."""
    (tmp_path / "service.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: one, namespace: nice}\nspec: {ports: [{port: 80}]}\n"
    )
    state = tmp_path / "none.json"
    state.write_text('{"version": 1, "clusterIPs": {"nice/one": ["10.97.3.4"]}}')
    before = state.read_bytes()
    assert "one.nice.svc IN A 10.97.3.4" in render(manifests=tmp_path / "service.yaml").splitlines()
    assert state.read_bytes() == before


def test_changes_are_followed_and_bad_ones_survived(tmp_path: Path):
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER.read_text())
    query = dns.message.make_query("web.shop.svc.cluster.local.", "A")

    def address(port: int) -> str:
        time.sleep(0.06)  # longer than the server looks away
        return dns.query.udp(query, "127.0.0.1", port=port, timeout=5).answer[0][0].to_text()

    with serving(manifests=path) as (port, server):
        assert address(port) == "10.96.0.80"
        path.write_text(CLUSTER.read_text().replace("10.96.0.80", "10.96.0.99"))
        assert address(port) == "10.96.0.99"
        path.write_text("kind: [")
        assert address(port) == "10.96.0.99"
        path.unlink()
        assert address(port) == "10.96.0.99"
        path.write_text(CLUSTER.read_text())
        assert address(port) == "10.96.0.80"
        server.terminate()
        assert server.wait(timeout=5) == 0
        complaints = server.stderr.read().splitlines()
    assert len(complaints) == 2
    assert all(
        line.startswith("kcompile: warning: still serving what was there before: ") for line in complaints
    )


def test_a_directory_is_followed(tmp_path: Path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(CLUSTER.read_text())
    query = dns.message.make_query("more.shop.svc.cluster.local.", "A")
    with serving(manifests=folder) as (port, server):
        assert dns.query.udp(query, "127.0.0.1", port=port, timeout=5).answer == []
        text = (
            "apiVersion: v1\nkind: Service\nmetadata: {name: more, namespace: shop}\n"
            "spec: {clusterIP: 10.96.9.9, ports: [{port: 1}]}\n"
        )
        (folder / "b.yaml").write_text(text)
        time.sleep(0.06)
        assert dns.query.udp(query, "127.0.0.1", port=port, timeout=5).answer[0][0].to_text() == "10.96.9.9"
        for path in folder.iterdir():
            path.unlink()
        time.sleep(0.06)
        assert dns.query.udp(query, "127.0.0.1", port=port, timeout=5).answer[0][0].to_text() == "10.96.9.9"
        server.terminate()
        assert "the directory holds no .yaml" in server.stderr.read()


def test_an_empty_directory(tmp_path: Path):
    assert "the directory holds no .yaml" in render(manifests=tmp_path, code=2)


def test_a_port_that_is_taken_is_one_line(port: int):
    command = [
        sys.executable,
        "-m",
        "kcompile",
        "dns",
        "serve",
        "-f",
        str(CLUSTER),
        "--port",
        str(port),
        "--state",
        "/nonexistent/x",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"kcompile: can't listen on 127.0.0.1 port {port}: Address already in use\n",
    )

"""What render prints is what serve answers; and serve follows its files."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype
import dns.zone
import pytest

from harness import prefork
from harness.nameserver import CLUSTER, serving

MOST = 20_000  # questions until something must have changed
SERVICE = (
    "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n"
    "spec: {{clusterIP: {address}, ports: [{{port: 1}}]}}\n"
)


def render(*options: str, manifests: Path = CLUSTER, code: int = 0) -> str:
    state = ["--state", str(manifests.parent / "none.json")]
    command = ["dns", "render", "-f", str(manifests), *state, *options]
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder, "output"), Path(folder, "errors")
        assert prefork.run(command, os.environ, Path(folder), output, errors=errors) == code
        return output.read_text() if code == 0 else errors.read_text()


def test_every_record_of_the_zone_files_is_served(port: int):
    asked = 0
    for text in render("-o", "zone").split("$ORIGIN ")[1:]:
        zone = dns.zone.from_text(f"$ORIGIN {text}", relativize=False)
        assert zone.get_soa().mname.to_text() == "ns.dns.cluster.local."
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
    ranges = ("--service-cluster-ip-range", "10.96.0.0/16", "--pod-cidr", "10.244.0.0/15,fd00:10:244::/48")
    text = render("-o", "corefile", "--directory", "/srv/zones/", "--cluster-domain", "a.b", *ranges)
    assert [line for line in text.splitlines() if not line.startswith(" ") and line != "}"] == [
        "a.b:53 {",
        "0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa:53 {",  # of web's clusterIP, which is in no range
        "244.10.in-addr.arpa:53 {",
        "245.10.in-addr.arpa:53 {",
        "4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa:53 {",
        "96.10.in-addr.arpa:53 {",
    ]
    assert "    file /srv/zones/db.a.b {" in text.splitlines()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--cluster-domain", "a..b"], "--cluster-domain a..b: not a domain name"),
        (["--address", "ns1"], "--address ns1: not an IP address"),
        (
            ["--zone", "example.com"],
            "--zone example.com: the zones are cluster.local, 0.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa, ",
        ),
    ],
)
def test_bad_options(options: list[str], says: str):
    assert render(*options, code=2).startswith(f"kcompile: {says}")


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


def test_without_a_name_service_the_server_has_kubeadms_address(tmp_path: Path):
    """A zone whose name server has no address isn't loaded by BIND and NSD."""
    (tmp_path / "service.yaml").write_text(SERVICE.format(name="one", address="10.97.3.4"))
    path = tmp_path / "service.yaml"
    assert "ns.dns IN A 10.96.0.10" in render(manifests=path).splitlines()
    assert "ns.dns IN A 10.97.0.10" in render("--service-cluster-ip-range", "10.97.0.0/16", manifests=path)


def address(port: int, name: str = "web", until: str = "") -> str:
    """The address of `name`, once it is `until`."""
    query = dns.message.make_query(f"{name}.shop.svc.cluster.local.", "A")
    for _ in range(MOST):
        answer = dns.query.udp(query, "127.0.0.1", port=port, timeout=5).answer
        found = answer[0][0].to_text() if answer else ""
        if not until or found == until:
            return found
    raise AssertionError(f"{name} is {found}, not {until}")


def complaint(server: subprocess.Popen[str]) -> str:
    """The next one."""
    line = server.stderr.readline()
    assert line.startswith("kcompile: warning: still serving what was there before: ")
    return line


def test_changes_are_followed_and_bad_ones_survived(tmp_path: Path):
    path = tmp_path / "cluster.yaml"
    path.write_text(CLUSTER.read_text())
    with serving(manifests=path) as (port, server):
        assert address(port) == "10.96.0.80"
        path.write_text(CLUSTER.read_text().replace("10.96.0.80", "10.96.0.99"))
        assert address(port, until="10.96.0.99")
        path.write_text("kind: [")
        assert str(path) in complaint(server)
        assert address(port) == "10.96.0.99"
        path.unlink()
        complaint(server)
        assert address(port) == "10.96.0.99"
        path.write_text(CLUSTER.read_text())
        assert address(port, until="10.96.0.80")
        server.terminate()
        assert server.wait(timeout=5) == 0
        assert not server.stderr.read()


def test_a_directory_is_followed_and_so_are_allocations(tmp_path: Path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "a.yaml").write_text(CLUSTER.read_text())
    with serving(manifests=folder) as (port, server):
        assert not address(port, "more")
        (folder / "b.yaml").write_text(SERVICE.format(name="more", address="10.96.9.9"))
        assert address(port, "more", until="10.96.9.9")
        (folder / "c.yaml").write_text(SERVICE.format(name="free", address="null"))
        assert any(address(port, "free") for _ in range(MOST))
        # as apply does
        (tmp_path / "none.new").write_text('{"version": 1, "clusterIPs": {"shop/free": ["10.96.7.7"]}}')
        (tmp_path / "none.new").rename(tmp_path / "none.json")
        assert address(port, "free", until="10.96.7.7")
        for path in folder.iterdir():
            path.unlink()
        assert "the directory holds no .yaml" in complaint(server)
        assert address(port, "more") == "10.96.9.9"


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

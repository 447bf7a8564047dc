"""``kcompile dns check``: a running server's answers beside the objects."""

import json
import os
from pathlib import Path

from harness import prefork
from harness.nameserver import CLUSTER, free_port


def check(folder: Path, port: int, *options: str, manifests: Path = CLUSTER, code: int = 0) -> str:
    given = ["-f", str(manifests), "--state", str(folder / "none"), "--server", f"127.0.0.1:{port}"]
    output = folder / "output"
    assert prefork.run(["dns", "check", *options, *given], os.environ, folder, output) == code
    return output.read_text()


def test_each_record_has_its_object(port: int, tmp_path: Path):
    lines = check(tmp_path, port, "alias.shop.svc").splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["same", "CNAME", "web.shop.svc.cluster.local.", "Service", "shop/alias"],
        ["same", "A", "10.96.0.80", "Service", "shop/web"],
    ]
    assert lines[-1] == "The server agrees: alias.shop.svc.cluster.local. is there."
    assert "Service shop/web" in check(tmp_path, port, "10.96.0.80")
    assert "Pod shop/db-0" in check(tmp_path, port, "10-244-0-5.shop.pod")
    assert "agrees: nobody.shop.svc.cluster.local. NXDOMAIN" in check(tmp_path, port, "nobody.shop.svc")


def test_what_differs_is_an_error(port: int, tmp_path: Path):
    other = tmp_path / "cluster.yaml"
    other.write_text(CLUSTER.read_text().replace("10.96.0.80", "10.96.0.88").replace("nobody", "anybody"))
    verdict = json.loads(check(tmp_path, port, "web.shop.svc", "-o", "json", manifests=other, code=1))
    states = {(line["state"], line["data"]) for line in verdict["lines"] if line["kind"] == "A"}
    assert states == {("missing", "10.96.0.88"), ("extra", "10.96.0.80")}
    text = check(tmp_path, port, "10.96.0.88", manifests=other, code=1)
    assert "PTR: the server answers NXDOMAIN" in text
    assert "no answer" in check(tmp_path, free_port(), "web.shop.svc", code=1)

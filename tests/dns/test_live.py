"""Objects of an API server, as answers; health and metrics."""

import asyncio
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

import dns.asyncquery
import dns.message

from harness.nameserver import free_port
from harness.objects import service, slice_of
from kcompile.apiserver import Store, serve
from kcompile.spec.objects import EndpointSlice, Object, Service

VERSIONS = {Service: "v1", EndpointSlice: "discovery.k8s.io/v1"}


def plain(item: Object) -> dict[str, object]:
    fields = item.fields()
    fields["metadata"].pop("uid", None)
    return {"apiVersion": VERSIONS[type(item)], "kind": type(item).__name__, **fields}


async def addresses(port: int, until: set[str], name: str = "peers") -> None:
    query = dns.message.make_query(f"{name}.shop.svc.cluster.local.", "A")
    for _ in range(20_000):
        reply = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=5)
        if {r.to_text() for rrset in reply.answer for r in rrset} == until:
            return
    raise AssertionError(f"{reply.answer}, not {until}")


def get(where: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{where}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


async def follow(folder: Path) -> None:
    store, port, pages = Store(), free_port(), f"127.0.0.1:{free_port()}"
    headless = plain(service("peers", "10.96.0.1", {"name": "p", "port": 80, "protocol": "TCP"}))
    headless["spec"] |= {"clusterIP": "None", "clusterIPs": ["None"]}
    store.put(headless)
    piece = plain(slice_of("peers", "10.244.0.1"))
    piece["metadata"]["labels"]["service.kubernetes.io/headless"] = ""
    store.put(piece)
    async with serve(store) as server:
        config = folder / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": {"server": server.url}}],
                    "users": [{"name": "u", "user": {}}],
                }
            )
        )
        options = ["--kubeconfig", str(config), "--port", str(port), "--metrics-bind-address", pages]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kcompile", "dns", "serve", *options, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout
            assert (await process.stdout.readline()).startswith(b"Serving ")
            await addresses(port, {"10.244.0.1"})
            piece["endpoints"] = [{"addresses": [f"10.244.0.{n}"], "hostname": f"peer-{n}"} for n in (2, 3)]
            store.put(piece)
            await addresses(port, {"10.244.0.2", "10.244.0.3"})
            await addresses(port, {"10.244.0.3"}, "peer-3.peers")
            assert await asyncio.to_thread(get, f"{pages}/health") == (200, "OK")
            assert await asyncio.to_thread(get, f"{pages}/ready") == (200, "OK")
            _, text = await asyncio.to_thread(get, f"{pages}/metrics")
            store.delete("Service", "shop", "peers")
            await addresses(port, set())
        finally:
            process.terminate()
            assert await process.wait() == 0
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    asked = '{family="1",proto="udp",%s,zone="cluster.local."}'
    assert float(lines["coredns_dns_requests_total" + asked % 'type="A"']) >= 2
    assert float(lines["coredns_dns_responses_total" + asked % 'rcode="NOERROR"']) >= 2
    assert lines["coredns_kubernetes_dns_programming_duration_seconds_count"] == "1.0"
    assert float(lines["kcompile_dns_records"]) > 30


def test_an_api_server_is_followed(tmp_path: Path):
    asyncio.run(follow(tmp_path))

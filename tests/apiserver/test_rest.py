"""Requests over HTTP: what is served, what is refused, and how bodies come."""

import asyncio
import gzip
import io
import json
import socket
import ssl

import aiohttp
import pytest

from harness.apiclient import Client, client
from harness.certificates import authority
from kcompile.apiserver import Store, make_certificates, serve, server_context

SERVICES = "/api/v1/namespaces/default/services"
PORTS = {"ports": [{"port": 80}]}
JSON = {"Content_Type": "application/json"}


def run(work, store: Store | None = None, connector=None, **options):
    async def beside():
        async with (
            serve(store or Store(), **options) as server,
            client(server.url, connector=connector() if connector else None) as asking,
        ):
            return await asyncio.wait_for(work(asking), 30)

    return asyncio.run(beside())


REFUSED = [
    ("GET", "/openapi/v2", None, {}, 404, ""),
    ("GET", "/openapi/v3/apis/example.com/v1", None, {}, 404, ""),
    ("GET", "/apis/example.com/v1", None, {}, 404, ""),
    ("POST", "/apis", {}, {}, 405, "MethodNotAllowed"),
    ("GET", "/apis", None, {"Accept": "application/yaml"}, 406, "NotAcceptable"),
    ("GET", "/api/v1/nosuch", None, {}, 404, "NotFound"),
    ("GET", "/api/v1/services/web", None, {}, 404, "NotFound"),
    ("GET", "/api/v1/namespaces/default/nodes", None, {}, 404, "NotFound"),
    ("GET", f"{SERVICES}/web/scale", None, {}, 404, "NotFound"),
    ("DELETE", f"{SERVICES}/web/status", None, {}, 405, "MethodNotAllowed"),
    ("GET", f"{SERVICES}/none", None, {}, 404, "NotFound"),
    ("PATCH", SERVICES, {}, {}, 405, "MethodNotAllowed"),
    ("PATCH", f"{SERVICES}/web", {}, {}, 415, "UnsupportedMediaType"),
    ("PATCH", f"{SERVICES}/web", b"a: 1", {"Content_Type": "application/apply-patch+yaml"}, 415, ""),
    ("POST", "/api/v1/services", {}, {}, 405, "MethodNotAllowed"),
    ("POST", f"{SERVICES}/web", {}, {}, 405, "MethodNotAllowed"),
    ("PUT", SERVICES, {}, {}, 405, "MethodNotAllowed"),
    ("POST", SERVICES, b"kind: Service", {"Content_Type": "application/yaml"}, 415, "UnsupportedMediaType"),
    ("POST", SERVICES, b"k8s", {"Content_Type": "application/vnd.kubernetes.protobuf"}, 400, "BadRequest"),
    ("GET", SERVICES, None, {"Accept": "application/vnd.kubernetes.protobuf"}, 406, "NotAcceptable"),
    ("GET", SERVICES, None, {"Accept": "application/json;as=Table;v=v9;g=meta.k8s.io"}, 406, "NotAcceptable"),
    ("POST", SERVICES, b"{", JSON, 400, "BadRequest"),
    ("POST", SERVICES, b"[]", JSON, 400, "BadRequest"),
    ("POST", SERVICES, {"kind": "Node", "apiVersion": "v1"}, {}, 400, "BadRequest"),
    ("POST", SERVICES, {"metadata": {"namespace": "other"}}, {}, 400, "BadRequest"),
    ("POST", SERVICES, {"metadata": []}, {}, 400, "BadRequest"),
    ("PUT", f"{SERVICES}/web", {"metadata": {"name": "other"}}, {}, 400, "BadRequest"),
    ("POST", SERVICES, io.BytesIO(b" " * 4_000_000), JSON, 413, "RequestEntityTooLarge"),
    ("GET", f"{SERVICES}?limit=x", None, {}, 400, "BadRequest"),
    ("GET", f"{SERVICES}?watch=maybe", None, {}, 400, "BadRequest"),
    ("GET", f"{SERVICES}?resourceVersion=0&resourceVersionMatch=Exact", None, {}, 422, "Invalid"),
    ("GET", f"{SERVICES}?resourceVersion=1&resourceVersionMatch=Newest", None, {}, 422, "Invalid"),
    ("GET", f"{SERVICES}?sendInitialEvents=true", None, {}, 422, "Invalid"),
    ("GET", f"{SERVICES}?watch=1&resourceVersionMatch=NotOlderThan", None, {}, 422, "Invalid"),
    ("GET", f"{SERVICES}?continue=e30", None, {}, 400, "BadRequest"),
]


def test_what_isnt_known_is_refused_with_a_status():
    async def work(asking: Client):
        return [
            (await asking.ask(method, path, body, **headers)) for method, path, body, headers, *_ in REFUSED
        ]

    for (method, path, _, _, code, reason), answer in zip(REFUSED, run(work), strict=True):
        assert answer.status == code, (method, path, answer)
        if isinstance(answer.body, dict):
            assert (answer.body["kind"], answer.body["code"]) == ("Status", code)
            assert reason in (answer.body["reason"], ""), (method, path)
        else:
            assert answer.body == "404 page not found\n"


def test_an_objects_life_over_http():
    async def work(asking: Client):
        made = await asking.ask("POST", SERVICES, {"metadata": {"name": "web"}, "spec": PORTS})
        read = await asking.get(
            f"{SERVICES}/web", Accept="application/vnd.kubernetes.protobuf,application/json"
        )
        assert (made.status, read.status, read.body) == (201, 200, made.body)
        changed = made.body | {"spec": made.body["spec"] | {"selector": {"app": "web"}}}
        assert (await asking.ask("PUT", f"{SERVICES}/web", changed)).status == 200
        wrong = {"preconditions": {"uid": "another"}}
        assert (await asking.ask("DELETE", f"{SERVICES}/web", wrong)).status == 409
        gone = await asking.ask(
            "DELETE", f"{SERVICES}/web", {"preconditions": {"uid": made.body["metadata"]["uid"]}}
        )
        assert (gone.status, gone.body["spec"]) == (200, changed["spec"])
        node = await asking.ask("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}})
        gone = await asking.ask("DELETE", "/api/v1/nodes/n1")
        details = {"name": "n1", "kind": "nodes", "uid": node.body["metadata"]["uid"]}
        assert (gone.body["status"], gone.body["details"]) == ("Success", details)
        return (await asking.get("/api/v1/services")).body["items"]

    assert run(work) == []


def names(body: dict) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def test_pages_show_one_version_while_things_change():
    store = Store()
    for number in range(7):
        labels = {"odd": str(number % 2)}
        meta = {"name": f"s{number}", "namespace": "default", "labels": labels}
        store.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": PORTS})

    async def pages(asking: Client, query: str, change):
        found, token, more = [], "", []
        while True:
            answer = await asking.get(f"/api/v1/services?{query}{token}")
            found.append(names(answer.body))
            meta = answer.body["metadata"]
            more.append(meta.get("remainingItemCount"))
            if "continue" not in meta:
                return found, more
            token = f"&continue={meta['continue']}"
            change()

    async def work(asking: Client):
        def change():
            for name in ("s0", "s6"):
                store.delete("Service", "default", name)

        def nothing():
            pass

        whole = await pages(
            asking, "limit=3", lambda: change() if store.list("Service", fields="metadata.name=s0") else None
        )
        chosen = await pages(asking, "limit=2&labelSelector=odd%3D1", nothing)
        ignored = await pages(asking, "limit=2&resourceVersion=0", nothing)
        return whole, chosen, ignored

    whole, chosen, ignored = run(work, store)
    assert whole == ([["s0", "s1", "s2"], ["s3", "s4", "s5"], ["s6"]], [4, 1, None])
    assert chosen == ([["s1", "s3"], ["s5"]], [None, None])
    assert ignored == ([["s1", "s2", "s3", "s4", "s5"]], [None])


def test_long_bodies_are_compressed_when_asked():
    store = Store()
    for number in range(400):
        meta = {"name": f"s{number}", "namespace": "default", "annotations": {"a": "b" * 400}}
        store.put({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": PORTS})

    async def ask():
        async with (
            serve(store) as server,
            aiohttp.ClientSession(server.url, auto_decompress=False) as session,
        ):
            found = []
            for path, encoding in (
                ("/api/v1/services", "gzip"),
                ("/api/v1/services", "identity"),
                ("/api/v1/nodes", "gzip"),
            ):
                async with session.get(path, headers={"Accept-Encoding": encoding}) as response:
                    found.append((response.headers.get("Content-Encoding"), await response.read()))
            return found

    (first, small), (second, plain), (third, _) = asyncio.run(ask())
    assert (first, second, third) == ("gzip", None, None)
    assert json.loads(gzip.decompress(small)) == json.loads(plain)
    assert len(plain) > 128 * 1024 > len(small)


def test_tls_and_a_unix_socket(tmp_path):
    made = authority(tmp_path)

    async def work(asking: Client):
        return (await asking.get("/version")).body["gitVersion"]

    path = tmp_path / "api.sock"
    found = [
        run(work, tls=made.server(), connector=lambda: aiohttp.TCPConnector(ssl=made.client())),
        run(work, path=path, connector=lambda: aiohttp.UnixConnector(str(path))),
        run(work, host="::1"),
    ]
    assert found == ["v1.36.2+kcompile"] * 3
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        run(work, tls=made.server())


def test_one_server_listens_on_several_sockets_and_takes_several_tokens(tmp_path):
    async def ask(url: str, token: str, **connection) -> int:
        async with client(url, token, **connection) as asking:
            return (await asking.get("/readyz")).status

    async def beside():
        trusted = ssl.create_default_context(cafile=make_certificates(tmp_path, ["127.0.0.1", "api.lab"]))
        with socket.create_server(("127.0.0.1", 0)) as first, socket.socket(socket.AF_UNIX) as second:
            second.bind(str(tmp_path / "api"))
            second.listen()
            tokens, own = {"user"}, server_context(tmp_path)
            async with serve(Store(), sockets=[first, second], token=tokens, tls=own) as server:
                tokens.add("pod")
                unix = aiohttp.UnixConnector(str(tmp_path / "api"))
                return server.url, [
                    await ask("http://localhost", "pod", connector=unix),
                    await ask(server.url, "user", connector=aiohttp.TCPConnector(ssl=trusted)),
                    await ask(server.url, "other", connector=aiohttp.TCPConnector(ssl=trusted)),
                ]

    url, found = asyncio.run(beside())
    assert url.startswith("https://127.0.0.1:")
    assert found == [200, 200, 401]


def test_unknown_and_repeated_fields_are_refused_warned_of_or_dropped():
    spec = b'{"ports":[{"port":80,"prot":"x"}],"type":"ClusterIP","type":"ClusterIP"}'
    raw = b'{"metadata":{"name":"web"},"spec":%b}' % spec
    said = 'unknown field "spec.ports[0].prot", duplicate field "spec.type"'

    async def work(asking: Client):
        found = []
        for level in ("Strict", "Warn", "Ignore"):
            path = f"{SERVICES}?fieldValidation={level}&dryRun=All"
            found.append(await asking.ask("POST", path, raw, **JSON))
        found.append(await asking.ask("POST", f"{SERVICES}?fieldValidation=Lax", raw, **JSON))
        found.append(await asking.ask("POST", f"{SERVICES}?dryRun=Some", raw, **JSON))
        return found

    strict, warned, ignored, lax, some = run(work)
    assert (strict.status, strict.body["message"].endswith(f"strict decoding error: {said}")) == (400, True)
    warning = ", ".join(f'299 - "{each}"' for each in said.replace('"', '\\"').split(", "))
    assert (warned.status, warned.headers["warning"]) == (201, warning)
    assert (ignored.status, "warning" in ignored.headers) == (201, False)
    assert warned.body["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (lax.status, some.status) == (422, 422)


def test_a_patch_with_an_unknown_field_is_422():
    async def work(asking: Client):
        await asking.ask("POST", SERVICES, {"metadata": {"name": "web"}, "spec": PORTS})
        merge = {"Content_Type": "application/merge-patch+json"}
        path = f"{SERVICES}/web?fieldValidation=Strict"
        return await asking.ask("PATCH", path, b'{"spec":{"typo":1}}', **merge)

    answer = run(work)
    assert answer.status == 422
    assert answer.body["message"].endswith('strict decoding error: unknown field "spec.typo"')


def test_discovery_is_kept_by_its_tag_and_schemas_by_their_hash():
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    accept = {"Accept": f"{aggregated},application/json"}

    async def work(asking: Client):
        first = await asking.get("/apis", **accept)
        again = await asking.get("/apis", **accept, If_None_Match=first.headers["etag"])
        index = await asking.get("/openapi/v3")
        place = index.body["paths"]["apis/apps/v1"]["serverRelativeURL"]
        document = await asking.get(place)
        moved = await asking.ask("GET", "/openapi/v3/apis/apps/v1?hash=OLD")
        return first, again, document, moved

    first, again, document, moved = run(work)
    assert first.body["kind"] == "APIGroupDiscoveryList"
    assert first.headers["content-type"] == aggregated
    assert (again.status, again.length) == (304, 0)
    assert document.headers["cache-control"] == "public, immutable"
    assert moved.body == document.body  # the client has followed to the right hash
    path = document.body["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [each["name"] for each in path["parameters"]]
    schemas = document.body["components"]["schemas"].values()
    kinds = [each for each in schemas if "x-kubernetes-group-version-kind" in each]
    assert len(kinds) == 5


def test_scale_reads_and_writes_the_replicas():
    container = {"name": "c", "image": "i"}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"

    async def work(asking: Client):
        await asking.ask("POST", path, {"metadata": {"name": "d"}, "spec": spec})
        first = (await asking.get(f"{path}/d/scale")).body
        more = await asking.ask("PUT", f"{path}/d/scale", first | {"spec": {"replicas": 4}})
        stale = await asking.ask("PUT", f"{path}/d/scale", first)
        negative = await asking.ask("PUT", f"{path}/d/scale", {"spec": {"replicas": -1}})
        return first, more, stale, negative

    first, more, stale, negative = run(work)
    assert (first["kind"], first["spec"], first["status"]["selector"]) == ("Scale", {"replicas": 1}, "a=b")
    assert (more.status, more.body["spec"]) == (200, {"replicas": 4})
    assert (stale.status, negative.status) == (409, 422)


def test_a_token_that_the_server_has_issued_is_good_for_it():
    async def work(asking: Client):
        path = "/api/v1/namespaces/default/serviceaccounts"
        await asking.ask("POST", path, {"metadata": {"name": "robot"}})
        made = await asking.ask("POST", f"{path}/robot/token", {"spec": {"expirationSeconds": 600}})
        short = await asking.ask("POST", f"{path}/robot/token", {"spec": {"expirationSeconds": 1}})
        token = made.body["status"]["token"]
        good = await asking.get("/readyz", Authorization=f"Bearer {token}")
        bad = await asking.get("/readyz", Authorization=f"Bearer {token}x")
        return made.status, short.status, good.status, bad.status

    async def beside():
        async with serve(Store(), token="user") as server, client(server.url, "user") as asking:
            return await work(asking)

    assert asyncio.run(beside()) == (201, 422, 200, 401)


TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def test_tables_carry_what_is_asked_of_their_objects():
    async def work(asking: Client):
        await asking.ask("POST", SERVICES, {"metadata": {"name": "web"}, "spec": PORTS})
        includes = ("", "Metadata", "Object", "None")
        paths = [f"{SERVICES}?limit=1&includeObject={each}" for each in includes]
        found = [(await asking.get(path, **TABLE)).body["rows"][0]["object"] for path in paths]
        wrong = await asking.get(f"{SERVICES}?includeObject=Half", **TABLE)
        return found, wrong.status, (await asking.get(f"{SERVICES}/web", **TABLE)).body

    (plain, metadata, whole, nothing), wrong, one = run(work)
    assert plain == metadata
    assert (metadata["kind"], "spec" in metadata) == ("PartialObjectMetadata", False)
    assert (whole["kind"], whole["metadata"]) == ("Service", metadata["metadata"])
    assert (nothing, wrong) == (None, 400)
    assert [row["cells"][0] for row in one["rows"]] == ["web"]
    assert one["metadata"] == {"resourceVersion": metadata["metadata"]["resourceVersion"]}


def test_a_watch_of_tables_has_the_columns_once_and_bookmarks_without_cells():
    store = Store()
    meta = {"name": "a", "namespace": "default"}
    store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    query = "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"

    async def work(asking: Client):
        found = []
        async with asking.watch(f"/api/v1/namespaces/default/configmaps?{query}", **TABLE) as events:
            found += [await anext(events), await anext(events)]
            store.delete("ConfigMap", "default", "a")
            return [*found, await anext(events)]

    (added, first), (bookmark, second), (deleted, third) = run(work, store)
    assert (added, bookmark, deleted) == ("ADDED", "BOOKMARK", "DELETED")
    assert [bool(each["columnDefinitions"]) for each in (first, second, third)] == [True, False, False]
    assert [each["rows"][0]["cells"][:1] for each in (first, second, third)] == [["a"], [], ["a"]]
    annotations = second["rows"][0]["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}


def test_discovery_in_the_old_form():
    async def work(asking: Client):
        paths = ("/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/apis/policy/v1")
        return [(await asking.get(path)).body for path in paths]

    versions, groups, core, group, apps, policy = run(work)
    assert versions["versions"] == ["v1"]
    assert "policy" in [each["name"] for each in groups["groups"]]
    names = {each["name"]: each for each in core["resources"]}
    assert names["pods/eviction"] | {"verbs": []} == {
        "name": "pods/eviction",
        "singularName": "",
        "namespaced": True,
        "group": "policy",
        "version": "v1",
        "kind": "Eviction",
        "verbs": [],
    }
    assert names["nodes"]["namespaced"] is False
    assert group["preferredVersion"]["groupVersion"] == "apps/v1"
    assert "deployments/scale" in [each["name"] for each in apps["resources"]]
    assert policy["resources"] == []

"""From an API server whose connections go wrong to the kernel, which ends with the right rules."""

import asyncio
import contextlib
import json
import logging
import random

import msgspec
import pytest

from harness import netns
from harness.faults import Plan, proxy
from harness.objects import node, service, slice_of
from kcompile.agent.agent import Agent
from kcompile.agent.api.backoff import Timing
from kcompile.agent.api.connection import connect
from kcompile.agent.api.server import ApiSource
from kcompile.agent.options import Options
from kcompile.agent.ports import Ports
from kcompile.agent.record import Record
from kcompile.agent.state import State
from kcompile.apiserver import Store, serve
from kcompile.engine.request import Request, configuration
from kcompile.kernel.nftables import Nft
from kcompile.modes import mode_of
from kcompile.spec.objects import EndpointSlice, Service

pytestmark = pytest.mark.kernel

QUICK = Timing(shortest=0.01, longest=0.05, answer=2.0, page=2.0, watch=(1.0, 2.0), silence=0.3, absent=9.0)
VERSIONS = {"Service": "v1", "EndpointSlice": "discovery.k8s.io/v1", "Node": "v1"}
NAMES = tuple(f"web-{number}" for number in range(12))


def plain(item):
    """An object as a client sends it."""
    kind = type(item).__name__
    fields = item.fields()
    fields["metadata"].pop("uid", None)
    return {"apiVersion": VERSIONS[kind], "kind": kind, **fields}


def change(store, rng):
    """Create, change or delete a Service or its slice."""
    name = rng.choice(NAMES)
    number = NAMES.index(name)
    with contextlib.suppress(Exception):  # what isn't there can't be deleted
        match rng.choice(("service", "slice", "slice", "no service", "no slice")):
            case "service":
                port = {"name": "p", "port": rng.choice((80, 81)), "protocol": "TCP"}
                store.put(plain(service(name, f"10.96.0.{number + 1}", port)))
            case "slice":
                ips = [f"10.244.0.{n}" for n in rng.sample(range(1, 9), rng.choice((0, 1, 3)))]
                store.put(plain(slice_of(name, *ips)))
            case "no service":
                store.delete("Service", "shop", name)
            case "no slice":
                store.delete("EndpointSlice", "shop", f"{name}-x")


def wanted(store, surroundings):
    """The Program of all that `store` has, made at once."""
    state = State((), Record(), lambda: None, logging.Logger("agent"))
    for kind, cls in (("Service", Service), ("EndpointSlice", EndpointSlice)):
        items = store.list(kind)
        state.listed(kind, [msgspec.convert(item, cls) for item in items])
    ports = Ports(surroundings)
    ports.update(state.take().services)
    return mode_of("nftables").target().lower(msgspec.structs.replace(ports.dataplane(), standing=(4,)))


def observed(name):
    with netns.enter(name), Nft() as nft:
        return nft.observe()


async def follow(name, folder, seed):
    rng, store, plan = random.Random(seed), Store(), Plan(seed, last=6)
    store.put(plain(node("node-a", "192.0.2.10")))
    for _ in range(30):
        change(store, rng)
    store.put(plain(service(NAMES[0], "10.96.0.1")))
    async with serve(store) as server, proxy(server, plan, retry_after=0) as before:
        config = folder / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": {"server": before.url}}],
                    "users": [{"name": "u", "user": {}}],
                }
            )
        )
        source = ApiSource(connect(str(config)), "node-a", timing=QUICK, seed=seed)
        request = Request(netns=name, node="node-a", mode="nftables")
        asked = Options(request=request, config=configuration(request))
        agent = Agent(asked, source, logging.Logger("agent"))
        running = asyncio.ensure_future(agent.run())
        for _ in range(60):
            change(store, rng)
            await asyncio.sleep(rng.choice((0, 0.001, 0.02)))
        plan.calm()
        for _ in range(400):
            assert not running.done(), running
            await asyncio.sleep(0.025)
            ports = agent._kernel.programmer.ports if agent._kernel.programmer else None
            if ports is not None and wanted(store, ports.surroundings) == observed(name):
                break
        else:
            pytest.fail(f"{plan!r}: the kernel has other rules than the server asks for")
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_ends_with_the_rules_of_everything(seed, tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path / "run"))
    with netns.group(["node"]) as names:
        netns.run(names["node"], ["ip", "link", "set", "lo", "up"])
        asyncio.run(follow(names["node"], tmp_path, seed))

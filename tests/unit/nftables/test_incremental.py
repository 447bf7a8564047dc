"""A Program that follows its ports is the Program of the ports as they are now."""

import random

import msgspec
import pytest

from harness.random_dataplanes import random_dataplane
from kcompile.program import apply_changes
from kcompile.targets.nftables import IncrementalProgram, NftablesTarget

TARGET = NftablesTarget()


@pytest.mark.parametrize("seed", range(30))
def test_replacing_ports_equals_lowering_anew(seed):
    rng = random.Random(seed)
    plane, other = random_dataplane(rng, services=10), random_dataplane(rng, services=10)
    kept = IncrementalProgram(plane)
    held = dict(kept.program)
    assert held == TARGET.lower(plane)
    ports = {(p.name, p.family, p.protocol): p for p in plane.ports}
    candidates = [p for p in other.ports if (p.name, p.family, p.protocol) in ports]
    for port in [*rng.sample(candidates, min(5, len(candidates))), None, None, None]:
        key = rng.choice(list(ports)) if port is None else (port.name, port.family, port.protocol)
        old = ports.pop(key)
        new = []
        if port is not None:  # the same frontends with other backends: no two ports then claim one address
            new = [
                msgspec.structs.replace(
                    old, cluster=old.cluster[1:] or old.cluster, affinity_seconds=port.affinity_seconds
                )
            ]
            ports[key] = new[0]
        held = apply_changes(held, kept.replace([old], new))
        now = msgspec.structs.replace(plane, ports=tuple(ports.values()))
        assert held == kept.program == TARGET.lower(now)


def test_nothing_is_left_when_the_last_port_goes():
    plane = random_dataplane(random.Random(1), services=3)
    settings = msgspec.structs.replace(plane.settings, service_cidrs=())
    plane = msgspec.structs.replace(
        plane, settings=settings, node=msgspec.structs.replace(plane.node, route_localnet=False)
    )
    kept = IncrementalProgram(plane)
    script = "".join(TARGET.scripts(kept.replace(plane.ports, ())).values())
    assert kept.program == {}
    assert {line.split()[0] for line in script.splitlines()} == {"delete"}


def test_one_port_changes_its_own_elements_only():
    plane = random_dataplane(random.Random(2), services=40)
    port = next(
        p
        for p in plane.ports
        if len(p.cluster) > 2 and not p.affinity_seconds and p.frontends[0].policy.forwards
    )
    changes = IncrementalProgram(plane).replace(
        [port], [msgspec.structs.replace(port, cluster=port.cluster[:-1])]
    )
    touched = {
        c.key.key.split(" . ")[0] for c in changes if c.key.kind == "element" and c.key.map != "hairpin"
    }
    assert touched <= {f.address or str(f.port) for f in port.frontends} | {port.protocol.lower}

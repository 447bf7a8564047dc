"""A changed port costs its own elements (tests/unit/test_incremental.py holds the Program to `lower`)."""

import random

import msgspec

from harness.random_dataplanes import random_dataplane
from kcompile.targets.nftables import IncrementalProgram


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

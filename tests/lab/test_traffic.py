"""No request fails while a Deployment is rolled over, a node is drained, and something beside crashes."""

from pathlib import Path

import pytest

from harness import modes
from harness.clusters import cluster
from harness.labtraffic import STEADY, Requests, changes

pytestmark = pytest.mark.kernel


def test_no_request_to_a_ready_pod_fails(tmp_path: Path):
    """More of it: bench/trials/lab_traffic.py."""
    if reason := modes.missing("nftables"):
        pytest.skip(reason)
    (tmp_path / "steady.yaml").write_text(STEADY)
    with cluster(tmp_path, "--mode", "nftables") as lab:
        lab.run("apply", "-f", str(tmp_path / "steady.yaml"), "--wait=false")
        lab.run("kubectl", "rollout", "status", "deployment/steady", "--timeout=60s")
        requests = Requests(lab)
        with requests.going(300):
            changes(lab)
        assert requests.failed == []
        assert len(requests.answered) > 4

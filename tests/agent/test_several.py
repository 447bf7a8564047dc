"""Several agents in one process, each in a namespace of its own: libnftables is one thread's at a time."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import netns
from harness.agents import Running
from harness.objects import service, slice_of

pytestmark = pytest.mark.kernel

CHANGES = 40


def test_two_agents_in_one_process(tmp_path: Path):
    with netns.group(["a", "b"]) as names:
        with (
            Running(names["a"], "nftables", tmp_path, []) as first,
            Running(names["b"], "nftables", tmp_path, []) as second,
        ):

            def work(agent: Running, pods: str) -> None:
                for number in range(1, CHANGES + 1):
                    name = f"s{number}"
                    agent.put(service(name, f"10.96.1.{number}"), slice_of(name, f"{pods}.{number}"))

            with ThreadPoolExecutor(2) as pool:
                for done in [pool.submit(work, first, "10.1.0"), pool.submit(work, second, "10.2.0")]:
                    done.result()
            assert not first.record.last_error
            assert not second.record.last_error
        for place, own, others in (("a", "10.1.0.", "10.2.0."), ("b", "10.2.0.", "10.1.0.")):
            command = ["ip", "netns", "exec", names[place], "nft", "list", "table", "ip", "kcompile"]
            rules = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            assert all(f"{own}{number} " in rules for number in range(1, CHANGES + 1))
            assert others not in rules

"""The walkthrough of examples/article: files unchanged, steps in kubectl's spelling, in every mode."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import modes
from harness.clusters import Cluster, cluster
from kcompile.lab.remote import Remote

ARTICLE = Path(__file__).resolve().parents[2] / "examples" / "article"
sys.path.insert(0, str(ARTICLE))

from walk import DOMAIN, Walk  # noqa: E402

pytestmark = pytest.mark.kernel


class Played:
    """A lab as walk.py wants it."""

    def __init__(self, lab: Cluster) -> None:
        self._lab, self.name = lab, lab.name

    def command(self, *words: str) -> list[str]:
        return ["env", f"KCOMPILE_RUN_DIR={self._lab.run_directory}", f"KCOMPILE_LAB={self.name}",
                *self._lab.command(*words)]  # fmt: skip

    def objects(self, kind: str, namespace: str) -> list[dict]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KCOMPILE_RUN_DIR", str(self._lab.run_directory))
            return Remote(self.name).objects(kind, namespace)

    def run(self, *words: str, fails: bool = False, text: str = "") -> str:
        done = subprocess.run(
            self.command(*words), input=text, capture_output=True, text=True, timeout=120, check=False
        )
        assert bool(done.returncode) == fails, f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    there = [mode for mode in modes.MODES if not modes.missing(mode)]
    if not there:
        pytest.skip(modes.missing("nftables"))
    with cluster(tmp_path_factory.mktemp("article"), "--mode", there[0], "--cluster-domain", DOMAIN) as made:
        yield made


@pytest.mark.parametrize("mode", modes.MODES)
def test_the_walkthrough(lab: Cluster, usable: str):
    lab.run("apply", "--mode", usable)
    walk = Walk(Played(lab))
    walk.all()
    assert walk.failures == []

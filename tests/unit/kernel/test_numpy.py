"""numpy is an extra: doctor finds that it is missing, and says what installs it."""

import sys

import pytest

from kcompile.kernel.bpf.arrays import numpy_missing
from kcompile.kernel.doctor import advice, probes


def test_doctor_says_what_installs_it(monkeypatch: pytest.MonkeyPatch):
    assert numpy_missing() == ""
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert numpy_missing() == "numpy is not installed (pip install 'kcompile[xdp]')"
    assert probes._tool("xdp") == "numpy"
    assert advice.install("numpy") == "pip install 'kcompile[xdp]'"

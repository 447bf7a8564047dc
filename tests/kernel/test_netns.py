"""A thread that goes into a namespace comes back, whatever happens on its way."""

import pytest

from harness import netns
from kcompile.errors import UnsupportedError
from kcompile.kernel import netns as subject
from kcompile.kernel.netns import entered, identity

pytestmark = pytest.mark.kernel


def test_in_and_out():
    home = identity()
    with netns.group(["there"]) as names:
        with entered(names["there"]):
            assert identity() != home
        assert identity() == home
        with pytest.raises(ZeroDivisionError), entered(names["there"]):
            _ = 1 / 0
        assert identity() == home


def test_nowhere():
    home = identity()
    with pytest.raises(UnsupportedError, match="does not exist"), entered("no-such-namespace"):
        pass
    assert identity() == home


def test_an_interrupt_on_the_way_in_leads_home(monkeypatch: pytest.MonkeyPatch):
    home, enter = identity(), subject._enter

    def interrupted(name: str) -> None:
        enter(name)
        raise KeyboardInterrupt

    monkeypatch.setattr(subject, "_enter", interrupted)
    with netns.group(["there"]) as names:
        with pytest.raises(KeyboardInterrupt), entered(names["there"]):
            pass
        assert identity() == home

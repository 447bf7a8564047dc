"""Most of a node's Services go only after a question, which is asked at a terminal and holds up nobody."""

import pytest

from harness import modes
from harness.command import rules
from harness.onenode import fresh, services, text
from harness.terminal import Terminal
from kcompile.kernel.lock import locked

pytestmark = pytest.mark.kernel
COUNT = 12


@pytest.fixture
def node(tmp_path):
    with fresh(tmp_path) as node:
        yield node


QUESTION = "kcompile: this removes 9 of the 12 Services on this node. Go on? [y/N] "


@pytest.fixture
def busy(node):
    """A node with twelve Services, and a file with three of them."""
    node.apply(*services(COUNT))
    (node.folder / "three.json").write_text(text(*services(3)))
    (node.folder / "nine.json").write_text(text(*services(COUNT)[3:]))
    return node


@pytest.mark.parametrize(
    ("verb", "file", "answer"),
    [*(("apply", "three.json", answer) for answer in ("\n", "n\n", "\x04")), ("delete", "nine.json", "x\n")],
)
def test_most_services_go_only_after_a_yes(busy, verb, file, answer):
    before = rules(busy.name, "nftables")
    with Terminal(busy, verb, "-f", file) as terminal:
        assert terminal.read(QUESTION).endswith(QUESTION)
        code, output = terminal.answer(answer)
        assert (code, output) == (1, "")
        assert "kcompile: not confirmed; nothing was changed" in terminal.seen
    assert rules(busy.name, "nftables") == before


@pytest.mark.parametrize(
    ("verb", "file", "answer"), [("apply", "three.json", "y\n"), ("delete", "nine.json", "YES\n")]
)
def test_a_yes_goes_on(busy, verb, file, answer):
    with Terminal(busy, verb, "-f", file) as terminal:
        terminal.read(QUESTION)
        code, output = terminal.answer(answer)
        assert code == 0, terminal.seen
        assert "to remove" in output
    assert busy.held() == {f"demo/web-{i}" for i in range(3)}


@pytest.mark.parametrize("mode", [mode for mode in modes.MODES if mode != "nftables"])
def test_a_yes_goes_on_in_every_mode(node, mode):
    """The plan that is made again after the answer is the one that was answered, in every mode."""
    if reason := modes.missing(mode):
        pytest.skip(reason)
    node.apply(*services(COUNT), extra=("--mode", mode))
    with Terminal(node, "apply", "-f", "-", given=text(*services(3))) as terminal:
        terminal.read(QUESTION)
        assert terminal.answer("y\n")[0] == 0, terminal.seen
    assert len(node.held()) == 3


def test_an_interrupt_is_a_no(busy):
    before = rules(busy.name, "nftables")
    with Terminal(busy, "apply", "-f", "three.json") as terminal:
        terminal.read(QUESTION)
        assert terminal.answer("\x03")[0] == 1
    assert rules(busy.name, "nftables") == before


def test_the_answer_comes_from_the_terminal_when_the_manifests_come_from_a_pipe(busy):
    with Terminal(busy, "apply", "-f", "-", given=text(*services(3))) as terminal:
        terminal.read(QUESTION)
        assert terminal.answer("y\n")[0] == 0
    assert len(busy.held()) == 3


def test_yes_beforehand_is_said_and_not_asked(busy):
    with Terminal(busy, "apply", "-f", "three.json", "--yes") as terminal:
        assert terminal.end()[0] == 0
        warning = "this removes 9 of the 12 Services on this node [removal]"
        assert terminal.said() == f"kcompile: warning: {warning}\n"
    assert len(busy.held()) == 3


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("apply", ("-f", "three.json", "--dry-run")),
        ("plan", ("-f", "three.json")),
        ("delete", ()),
        ("delete", ("--mode", "nftables")),
    ],
)
def test_what_changes_nothing_or_is_meant_asks_nothing(busy, verb, arguments):
    with Terminal(busy, verb, *arguments) as terminal:
        assert terminal.end()[0] == 0
        assert terminal.said() == ""


@pytest.mark.parametrize(("held", "left"), [(9, 1), (12, 6), (12, 12), (0, 3)])
def test_less_is_an_ordinary_apply(node, held, left):
    if held:
        node.apply(*services(held))
    (node.folder / "left.json").write_text(text(*services(left)))
    with Terminal(node, "apply", "-f", "left.json") as terminal:
        assert terminal.end()[0] == 0
        assert terminal.said() == ""
    assert len(node.held()) == left


@pytest.mark.parametrize("mode", list(modes.MODES))
def test_every_mode_counts_and_so_does_a_change_of_mode(node, mode):
    if reason := modes.missing(mode):
        pytest.skip(reason)
    said = "kcompile: warning: this removes {} of the 12 Services on this node [removal]\n"
    node.apply(*services(COUNT), extra=("--mode", mode))
    shown = node.run("plan", "-f", "-", "--allow-empty")
    assert (shown.returncode, shown.stderr, len(node.held())) == (0, "", COUNT)
    assert said.format(12) in node.apply(extra=("--allow-empty",)).stderr
    assert node.held() == set()
    node.apply(*services(COUNT), extra=("--mode", mode))
    other = "nftables" if mode == "iptables-legacy" else "iptables-legacy"
    assert said.format(9) in node.apply(*services(3), extra=("--mode", other)).stderr
    assert len(node.held()) == 3


def test_nobody_waits_for_a_person(busy):
    with Terminal(busy, "apply", "-f", "three.json") as terminal:
        terminal.read(QUESTION)
        with locked(busy.lock, wait=0.0):
            pass
        assert "No changes" in busy.apply(*services(COUNT)).stdout
        assert terminal.answer("y\n")[0] == 0
    assert len(busy.held()) == 3


@pytest.mark.parametrize(("verb", "file"), [("apply", "three.json"), ("delete", "nine.json")])
def test_a_yes_to_another_state_of_the_node_is_none(busy, verb, file):
    with Terminal(busy, verb, "-f", file) as terminal:
        terminal.read(QUESTION)
        busy.apply(*services(COUNT - 1))
        assert terminal.answer("y\n") == (1, "")
        assert "kcompile: this node has changed while the question waited" in terminal.seen
    assert len(busy.held()) == COUNT - 1

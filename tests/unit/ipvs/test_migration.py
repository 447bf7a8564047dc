"""The command that the notice of mode ipvs gives is the user's own, in mode nftables."""

import shlex

import click
import pytest

from kcompile.cli import migration
from kcompile.cli.apply import command


def said(line: str) -> str:
    context = command.make_context(
        "apply", shlex.split(line), parent=click.Context(click.Group(), info_name="kcompile")
    )
    return migration.retiring(context).text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("--mode ipvs -f a.yaml", "--mode nftables -f a.yaml"),
        ("-f a.yaml --filename=b.yaml --mode=ipvs -f -", "--mode nftables -f a.yaml -f b.yaml -f -"),
        ("-f a.yaml --config 'my config.yaml'", "--mode nftables -f a.yaml --config 'my config.yaml'"),
        ("--mode ipvs --ipvs-scheduler wlc --iptables-backend legacy -f a", "--mode nftables -f a"),
        (
            "--mode ipvs -f a --netns n --node node-a --dry-run",
            "--mode nftables -f a --netns n --node node-a --dry-run=client",
        ),
        ("--mode ipvs -f a --dry-run=kernel -o json", "--mode nftables -f a -o json --dry-run=kernel"),
        (
            "--mode ipvs -f a -R -v --quiet-warning skipped",
            "--mode nftables -f a -R -v --quiet-warning skipped",
        ),
        ("--mode ipvs -f a --max-input-bytes 7", "--mode nftables -f a --max-input-bytes 7"),
    ],
)
def test_the_same_command_line_in_mode_nftables(given, told):
    notice, _, line = said(given).rpartition(": ")
    assert notice == "Kubernetes is retiring its ipvs mode (deprecated since 1.35). To move this node"
    assert sorted(shlex.split(line)) == sorted(shlex.split(f"kcompile apply {told}"))
    # and it parses to what it was, but for the mode
    parsed = [
        command.make_context(
            "apply", shlex.split(text), parent=click.Context(click.Group(), info_name="kcompile")
        ).params
        for text in (given, line.removeprefix("kcompile apply "))
    ]
    assert parsed[1] == parsed[0] | {"mode": "nftables", "ipvs_scheduler": None, "iptables_backend": None}

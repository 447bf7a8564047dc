"""contrib/oci/Containerfile: the image has what kcompile calls, and no shell. It is not built here."""

from __future__ import annotations

import re

from harness.imports import ROOT
from kcompile import spawn

TEXT = (ROOT / "contrib/oci/Containerfile").read_text()
ELSEWHERE = {"kmod", "curl"}  # modules are the node's; curl is for labs


def test_every_program_that_an_agent_calls_is_installed():
    installed = set(re.findall(r"[a-z0-9-]+", TEXT.partition("AS root")[2].partition("FROM scratch")[0]))
    assert set(spawn._PACKAGES.values()) - ELSEWHERE <= installed


def test_what_is_copied_is_there():
    for line in re.findall(r"^COPY (?!--)(.+) /source", TEXT, re.MULTILINE):
        assert [name for name in line.split() if not (ROOT / name).exists()] == []


def test_nothing_is_fetched_after_the_wheels_and_no_shell_is_left():
    last = TEXT.partition("AS root")[2]
    assert "--no-index" in last
    assert last.index("os.unlink") < last.index("FROM scratch")
    assert not re.search(r"^RUN (?!\[)", last.partition("os.unlink")[2], re.MULTILINE)

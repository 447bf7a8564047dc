"""The warning at the first apply of mode ipvs: Kubernetes is retiring it; the command that changes mode."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
from click.core import ParameterSource

from ..notices import Notice

__all__ = ["retiring"]

_ONLY_HERE = ("ipvs_scheduler", "iptables_backend")


def retiring(context: click.Context) -> Notice:
    """The notice, with the command of `context` (an apply) as the user gave it, but in mode nftables."""
    words = ["kcompile", context.info_name or "", "--mode", "nftables", *_given(context)]
    retired = "Kubernetes is retiring its ipvs mode (deprecated since 1.35)"
    text = f"{retired}. To move this node: {shlex.join(words)}"
    return Notice("ipvs-retiring", text)


def _given(context: click.Context) -> Iterator[str]:
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name == "mode" or name in _ONLY_HERE:
            continue
        value = context.params[name]
        if getattr(parameter, "is_flag", False) and value is True:
            yield parameter.opts[0]
            continue
        for one in value if isinstance(value, tuple) else (value,):
            # an option whose value may be left out takes it only after "="
            takes_next = not getattr(parameter, "_flag_needs_value", False)
            yield from (parameter.opts[0], str(one)) if takes_next else (f"{parameter.opts[0]}={one}",)

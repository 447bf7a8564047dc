"""The command line: one module a verb; the only package that prints or exits.

A verb's module is imported when the verb is used, so that ``kcompile --help`` and shell completion are fast.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from .. import __version__

__all__ = ["main"]

_VERBS = {
    "compile": "Print the rules that the manifests compile to. Changes nothing.",
    "plan": "Show what apply would change on this node.",
    "apply": "Make this node's rules match the manifests.",
    "run": "Follow an API server or manifests, and keep this node's rules up to date.",
    "diff": "Compare this node with the manifests; exit status 1 if they differ.",
    "delete": "Remove kcompile's rules from this node.",
    "get": "Show the Services, endpoints, rules or connections in the kernel.",
    "explain": "Explain one Service: its addresses, its endpoints and why, its rules.",
    "trace": "Trace a packet through the rules, of the manifests or of the kernel, without sending it.",
    "verify": "Check that rules do what the manifests say, in every mode or in the kernel.",
    "status": "Show what the agent (kcompile run) has programmed for each Service.",
    "dns": "Print or serve the DNS records of the Services.",
    "lab": "Run a small cluster on this machine, in network namespaces.",
    "bench": "Measure the cost of ClusterIP, NodePort and pod IP in each mode.",
    "doctor": "Show which modes this node supports, problems, and their fixes.",
    "completion": "Print the shell's completion script.",
}

_PLUGINS = ("bench",)
"""Verbs of other distributions or packages: the entry point of that name in group ``kcompile.verbs``."""


def _plugin(name: str) -> click.Command:
    from importlib.metadata import entry_points

    from ..errors import UnsupportedError

    for entry in entry_points(group="kcompile.verbs", name=name):
        command: click.Command = entry.load()
        return command
    raise UnsupportedError(f"{name} isn't installed with this kcompile (pip install 'kcompile[{name}]')")


class _Verbs(click.Group):
    """A group that loads a verb's module only when it is called or asked for its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in _VERBS:
            return None
        if name in _PLUGINS:
            return _plugin(name)
        command: click.Command = importlib.import_module(f".{name}", __name__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and turn our exceptions into one line on stderr and an exit code."""
        from ..errors import InputError, KcompileError

        try:
            return super().main(*args, **kwargs)
        except BrokenPipeError:
            raise SystemExit(1) from None
        except InputError as e:
            click.echo(f"kcompile: {e}", err=True)
            raise SystemExit(e.exit_code) from None
        except KcompileError as e:
            click.echo(f"kcompile: {e}", err=True)
            raise SystemExit(e.exit_code) from None
        except OSError as e:
            from ..files import NO_ROOM

            if e.errno not in NO_ROOM:
                raise
            click.echo(f"kcompile: {e.filename or 'writing'}: {e.strerror}", err=True)
            raise SystemExit(KcompileError.exit_code) from None


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kcompile")
def main() -> None:
    """Compile Kubernetes Services to iptables, nftables, IPVS or eBPF rules on this node.

    Exit status: 0 success, 1 failed, 2 bad input or usage (diff and plan --detailed-exitcode have their own:
    see their help).
    """

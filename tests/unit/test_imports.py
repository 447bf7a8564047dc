"""Who may import whom: the layers, checked on the syntax tree of every module, and what a bare start of the
program loads.
"""

import ast
import subprocess
import sys

import pytest

from harness.imports import ROOT, imports, module_name

PACKAGE = ROOT / "compiler" / "kcompile"
TARGETS = ("iptables", "nftables", "ipvs", "xdp")
SLOW = (
    "pyroute2",
    "iptc",
    "bcc",
    "matplotlib",
    "scipy",
    "numpy",
    "dns",
    "lightkube",
    "httpx",
    "httpx2",
    "aiohttp",
    "prometheus_client",
    "watchfiles",
)


MODULES = {module_name(path, PACKAGE.parent): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported_by(module: str, top_level_only: bool = False) -> set[str]:
    path = MODULES[module]
    return imports(path.read_text(), module, path.name == "__init__.py", top_level_only)


def reaches(names: set[str], *forbidden: str) -> set[str]:
    return {name for name in names for bad in forbidden if name == bad or name.startswith(bad + ".")}


def layer(*packages: str) -> list[str]:
    return [
        m for m in MODULES if any(m == f"kcompile.{p}" or m.startswith(f"kcompile.{p}.") for p in packages)
    ]


def test_the_checker_sees_every_spelling():
    source = (
        "import a.b\n"
        "from ..kernel import netns\n"
        "from . import x\n"
        "if TYPE_CHECKING:\n    import t\n"
        "def f():\n    import lazy\n"
        "class C:\n    import inner\n"
        "import_module('dynamic')\n"
    )
    assert imports(source, "kcompile.plan.diff", False) == {
        "a.b", "kcompile.kernel", "kcompile.kernel.netns", "kcompile.plan", "kcompile.plan.x", "t", "lazy",
        "inner", "dynamic",
    }  # fmt: skip
    assert imports(source, "kcompile.plan.diff", False, top_level_only=True) == {
        "a.b", "kcompile.kernel", "kcompile.kernel.netns", "kcompile.plan", "kcompile.plan.x", "inner",
        "dynamic",
    }  # fmt: skip
    assert "kcompile.ir.model" in imports("from .model import Family", "kcompile.ir", True)


def test_there_is_a_package_to_check():
    assert {"kcompile.cli", "kcompile.ir.model", "kcompile.program", "kcompile.targets.base"} <= set(MODULES)


FLOORS = (
    ("files", "spawn", "errors", "notices", "program"),
    ("ir",),
    ("passes", "spec", "targets"),
    ("plans", "trace"),
    ("kernel",),
    ("modes",),
    ("engine",),
    ("library",),
    ("agent", "apiserver"),
    ("dns", "lab"),
    ("cli",),
    ("__main__",),
)
"""The rooms of the package, from the ground up.

A room may import from lower floors, and from those of its own floor in ROOMS_BESIDE.
"""

ROOMS_BESIDE = {("files", "errors"), ("spawn", "errors")}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_has_its_floor():
    assert {room(module) for module in MODULES} - {"", "isolated"} == {
        name for floor in FLOORS for name in floor
    }


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) not in ("", "isolated")])
def test_no_arrow_goes_up_and_there_is_no_circle(module: str):
    height = {name: level for level, floor in enumerate(FLOORS) for name in floor}
    own = room(module)
    others = {
        room(name) for name in imported_by(module) if name.startswith("kcompile.") and room(name) in height
    } - {own}
    up = {name for name in others if height[name] >= height[own] and (own, name) not in ROOMS_BESIDE}
    assert not up


@pytest.mark.parametrize("module", layer("ir", "passes", "targets", "trace"))
def test_the_pure_layers_never_reach_the_machine(module: str):
    assert not reaches(imported_by(module), "kcompile.kernel", "kcompile.agent", "click", "subprocess")


@pytest.mark.parametrize("module", layer("kernel"))
def test_the_kernel_layer_knows_nothing_of_specs(module: str):
    assert not reaches(imported_by(module), "kcompile.spec", "kcompile.passes")


@pytest.mark.parametrize("module", layer(*(f"targets.{t}" for t in TARGETS)))
def test_one_target_never_imports_another(module: str):
    own = module.split(".")[2]
    assert not reaches(
        imported_by(module), *(f"kcompile.targets.{other}" for other in TARGETS if other != own)
    )


@pytest.mark.parametrize("module", [m for m in MODULES if m != "kcompile.__main__" and m not in layer("cli")])
def test_nothing_imports_the_command_line(module: str):
    assert not reaches(imported_by(module), "kcompile.cli", "kcompile.__main__", "click")


@pytest.mark.parametrize("module", [m for m in MODULES if m not in layer("cli")])
def test_only_the_command_line_prints_or_exits(module: str):
    calls = {
        ast.unparse(n.func)
        for n in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(n, ast.Call)
    }
    assert not calls & {"print", "exit", "sys.exit", "sys.stdout.write", "click.echo"}


@pytest.mark.parametrize("module", [m for m in MODULES if m not in layer("cli", "lab")])
def test_only_the_command_line_uses_the_lab(module: str):
    assert not reaches(imported_by(module), "kcompile.lab")


@pytest.mark.parametrize("module", list(MODULES))
def test_slow_modules_and_the_bench_kit_stay_out(module: str):
    assert not reaches(imported_by(module), "kcompile_bench")
    assert not reaches(imported_by(module, top_level_only=True), *SLOW)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        *(
            [*verb, "--help"]
            for verb in (["apply"], ["doctor"], ["dns", "serve"], ["lab", "up"], ["bench", "run"])
        ),
    ],
)
def test_help_loads_nothing_slow(arguments: list[str]):
    probe = (
        "import sys\n"
        "from kcompile.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print(' '.join(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    loaded = set(done.stderr.split())
    assert "kcompile.cli" in loaded
    slow = (
        *SLOW,
        "yaml",
        "asyncio",
        "kcompile.kernel",
        "kcompile.targets",
        "kcompile.spec",
        "kcompile.passes",
        "kcompile.lab",
        "kcompile.dns",
    )
    assert not reaches(loaded, *slow)

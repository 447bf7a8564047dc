"""One test for each flow case and mode, and one for each sequence and mode that it suits."""

from pathlib import Path

import pytest

from harness import modes, netns, sequence

CASES = Path(__file__).parent / "flowcases"
SEQUENCES = Path(__file__).parent / "sequences"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if {"case_file", "mode"} <= set(metafunc.fixturenames):
        files = case_files(metafunc.config.getoption("flowcases") or [CASES])
        chosen = chosen_modes(metafunc.config) or list(modes.VARIANTS)
        pairs = [(file, mode) for file in files for mode in chosen]
        metafunc.parametrize(
            ("case_file", "mode"), pairs, ids=[f"{file.stem}[{mode}]" for file, mode in pairs]
        )
    if {"sequence_case", "mode"} <= set(metafunc.fixturenames):
        sequences = [sequence.load(file) for file in case_files([SEQUENCES])]
        chosen = chosen_modes(metafunc.config) or [mode for mode in modes.VARIANTS if mode != "xdp-generic"]
        suited = [(one, mode) for one in sequences for mode in chosen if one.suits(mode)]
        metafunc.parametrize(
            ("sequence_case", "mode"), suited, ids=[f"{one.case.name}[{mode}]" for one, mode in suited]
        )


def case_files(folders: list[Path]) -> list[Path]:
    files = []
    for folder in folders:
        found = (
            [folder]
            if folder.is_file()
            else sorted(
                (p for p in folder.glob("*") if p.suffix in (".yaml", ".yml", ".json")), key=by_number
            )
        )
        if not found:
            raise pytest.UsageError(f"no flow cases in {folder}")
        files += found
    return files


def by_number(file: Path) -> tuple[int, str]:
    number = file.name.partition("-")[0]
    return (int(number) if number.isdigit() else 0, file.name)


def chosen_modes(config: pytest.Config) -> list[str]:
    chosen = [mode for option in config.getoption("mode") for mode in option.split(",")]
    if unknown := sorted(set(chosen) - set(modes.VARIANTS)):
        raise pytest.UsageError(f"unknown mode {', '.join(unknown)}: there are {', '.join(modes.VARIANTS)}")
    return list(dict.fromkeys(chosen))


def unavailable(reason: str, named: bool) -> None:
    """End this test: a failure if its mode was named, else a skip, which fails in CI."""
    if named:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _clean_namespaces(request: pytest.FixtureRequest) -> None:
    """Nothing is left of earlier runs that were killed."""
    if reason := modes.no_namespaces():
        unavailable(reason, bool(chosen_modes(request.config)))
    netns.sweep()


@pytest.fixture
def usable_mode(mode: str, request: pytest.FixtureRequest) -> str:
    """The test's mode, where the kernel has it."""
    if reason := modes.missing(mode):
        unavailable(reason, mode in chosen_modes(request.config))
    return mode

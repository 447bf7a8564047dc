"""One test for each flow case and mode."""

from pathlib import Path

import pytest

from harness import modes, netns

CASES = Path(__file__).parent / "flowcases"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if {"case_file", "mode"} <= set(metafunc.fixturenames):
        files = case_files(metafunc.config.getoption("flowcases") or [CASES])
        chosen = chosen_modes(metafunc.config) or list(modes.MODES)
        pairs = [(file, mode) for file in files for mode in chosen]
        metafunc.parametrize(("case_file", "mode"), pairs, ids=[f"{file.stem}[{mode}]" for file, mode in pairs])


def case_files(folders: list[Path]) -> list[Path]:
    files = []
    for folder in folders:
        found = (
            [folder] if folder.is_file() else sorted((p for p in folder.glob("*") if p.suffix in (".yaml", ".yml", ".json")), key=by_number)
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
    if unknown := sorted(set(chosen) - set(modes.MODES)):
        raise pytest.UsageError(f"unknown mode {', '.join(unknown)}: there are {', '.join(modes.MODES)}")
    return list(dict.fromkeys(chosen))


@pytest.fixture(scope="session", autouse=True)
def _clean_namespaces():
    """Nothing is left of earlier runs that were killed."""
    netns.sweep()


@pytest.fixture
def usable_mode(mode: str, request: pytest.FixtureRequest) -> str:
    """The test's mode. Where the kernel hasn't got it: a failure if it was named, else a skip, which fails in CI."""
    if reason := modes.missing(mode):
        if mode in chosen_modes(request.config):
            pytest.fail(reason)
        pytest.skip(reason)
    return mode

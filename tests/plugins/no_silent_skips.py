"""In CI (the variable CI is set) a test that skips itself fails: a green run means that everything ran.

What some kernels can never do is marked ``kernel_lacks(reason=...)`` on the test or the parameter: only such
a test may skip.
"""

import os

import pytest

MARKER = "kernel_lacks(reason): the only tests that may skip themselves in CI: what some kernels can never do"


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)


def refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} may not skip in CI: {reason_of(report)}"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    expected_failure = hasattr(report, "wasxfail")
    if (
        in_ci()
        and report.skipped
        and not expected_failure
        and item.get_closest_marker("kernel_lacks") is None
    ):
        refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():  # a whole module that skips itself
    report = yield
    if in_ci() and report.skipped:
        refuse(report)
    return report

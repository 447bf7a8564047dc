"""The name server that most of these tests ask."""

import shutil
from collections.abc import Iterator

import pytest

from harness.nameserver import serving


@pytest.fixture(scope="session")
def port() -> Iterator[int]:
    """The port where the records of cluster.yaml are served, with the domain cluster.local."""
    with serving() as (number, _):
        yield number


@pytest.fixture(scope="session")
def dig() -> str:
    found = shutil.which("dig")
    if not found:
        pytest.skip("no dig (bind9-dnsutils)")
    return found

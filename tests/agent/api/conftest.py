"""What the tests of connections share."""

import pytest

from harness.certificates import Authority
from harness.certificates import authority as authority_of


@pytest.fixture(scope="package", name="authority")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = authority_of(tmp_path_factory.mktemp("authority"))
    made.issue("somebody")
    made.issue("another")
    return made

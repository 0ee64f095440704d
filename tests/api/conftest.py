"""Fixtures of the API level: the real API server, without any node."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ground import Lab  # noqa: E402


@pytest.fixture(scope="module")
def lab():
    """An API server in a network namespace of its own; `lab.api` talks to it as cluster admin."""
    with Lab(ground="api") as lab:
        lab.start_api()
        yield lab

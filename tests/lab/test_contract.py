"""The contract of the kernel layer (tests/contract.rs) on a real kernel; the simulator passes the same tests."""

import os
import re
import subprocess

import pytest
from ground import Lab, assets

pytestmark = pytest.mark.core


def pytest_generate_tests(metafunc):
    """One test for each test of the suite that `make build` has built; a single failing one if the suite is missing."""
    try:
        listed = subprocess.run([assets.contract_suite(), "--list", "--ignored"], check=True, stdout=subprocess.PIPE, text=True).stdout
    except assets.Missing:
        listed = "not_built: test"
    metafunc.parametrize("name", re.findall(r"^(\S+): test$", listed, re.MULTILINE))


@pytest.fixture(scope="module")
def suite():
    return assets.contract_suite()


@pytest.fixture(scope="module")
def node(suite):
    """A node for the suite alone, which changes anything on it."""
    with Lab() as lab:
        node = lab.node("k")
        lab.boot()
        yield node


def test_contract_on_linux(suite, node, name):
    env = {"DIRECTWAY_CONTRACT": "linux", "RUST_BACKTRACE": os.environ.get("RUST_BACKTRACE", "0")}
    result = node.run_binary(suite, ["--ignored", "--exact", name], timeout=120, env=env)
    assert result.rc == 0, result.out + result.err
    assert "1 passed" in result.out, result.out

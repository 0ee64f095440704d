"""The contract of the kernel layer (tests/contract.rs), on a real kernel: what the simulator passes too."""

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from ground import Lab
from ground.assets import ROOT

pytestmark = pytest.mark.core


@cache
def program() -> Path:
    """The suite's binary; cargo says where it is, and builds it if need be."""
    command = ["cargo", "test", "--locked", "--no-run", "--test", "contract", "--message-format=json"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    artifacts = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    return next(Path(a["executable"]) for a in artifacts if a.get("executable") and a["target"]["name"] == "contract")


def pytest_generate_tests(metafunc):
    names = subprocess.run([program(), "--list", "--ignored"], check=True, stdout=subprocess.PIPE, text=True).stdout
    metafunc.parametrize("name", re.findall(r"^(\S+): test$", names, re.MULTILINE))


@pytest.fixture(scope="module")
def node():
    """A node of its own: the suite changes what it likes."""
    with Lab() as lab:
        node = lab.node("k")
        lab.boot()
        yield node


def test_contract_on_linux(node, name):
    env = {"DIRECTWAY_CONTRACT": "linux", "RUST_BACKTRACE": os.environ.get("RUST_BACKTRACE", "0")}
    result = node.run_binary(program(), ["--ignored", "--exact", name], timeout=120, env=env)
    assert result.rc == 0, result.out + result.err
    assert "1 passed" in result.out, result.out

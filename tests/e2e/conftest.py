"""The cluster that kind.sh made, with directway installed from the chart."""

import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from kind import KindCluster  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    found = item.funcargs.get("cluster")
    if report.failed and found is not None:
        report.sections.append(("state of the cluster", found.state()))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if not os.environ.get("KIND_CLUSTER"):
        pytest.skip("there is no kind cluster: run tests/e2e/kind.sh")
    with KindCluster(os.environ["KIND_CLUSTER"], tmp_path_factory.mktemp("logs")) as cluster:
        yield cluster

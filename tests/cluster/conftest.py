"""Fixtures of the cluster level: real kubelets, directway installed with Helm. One cluster for all scenarios of a run.

`cluster`    four nodes that are Ready: director d, real servers r1 and r2, and one without a role; nothing installed
`installed`  the same with the chart installed with default values
`web`        the same with a web server on every real server and one VirtualService, Ready
`load`       a client that opens connections to it all the time
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ground import Lab, clients  # noqa: E402
from cluster_site import ClusterSite  # noqa: E402
from objects import VIP  # noqa: E402


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.fixture(scope="session")
def cluster(record_testsuite_property):
    with Lab("cluster") as lab:
        site = ClusterSite(lab)
        record_testsuite_property("nodes", len(lab.nodes))
        record_testsuite_property("ready_seconds", site.ready_after)
        yield site
        if site.installing is not None:
            record_testsuite_property("install_seconds", site.installing)


@pytest.fixture
def installed(cluster):
    return cluster.install()


@pytest.fixture
def web(installed):
    return installed.serve()


@pytest.fixture
def load(web):
    running = clients.load(web.host, VIP, interval=0.02)
    running.wait_answers(20)
    yield running
    running.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    site = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and site is not None:
        report.sections.append(("state of the cluster", site.state()))

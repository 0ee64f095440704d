"""Fixtures of the lab's scenarios. A failing scenario prints the state of every node.

`lab`        the standard lab (d, r1 r2 r3, API server), booted once for all scenarios, as found before each
`plain_lab`  the same nodes without an API server, for sources from a directory
`new_lab`    an empty lab of this scenario alone, for another topology: add nodes, boot()
"""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ground import Lab  # noqa: E402
from ground.pristine import Pristine  # noqa: E402
from ground.standard import standard_lab  # noqa: E402
from ground.state import describe  # noqa: E402
from support.fixtures import cluster, fleet, fleets, hosts  # noqa: E402, F401


# Files that take minutes, the longest first: several labs share the files, and none should begin a long one when the others have ended.
LONG = ("undo", "failover", "random_faults", "moves", "arp", "endpoints", "status", "api_faults", "bad_nodes")


def pytest_configure(config):
    config.addinivalue_line("markers", "core: the part that also runs on the ground `vm`")


def pytest_collection_modifyitems(config, items):
    """Leaves out tests for another ground. Orders the rest by source, API server first, so that agents change their source only once."""
    ground = os.environ.get("DIRECTWAY_GROUND", "uml")
    elsewhere = [item for item in items if any(ground not in only.args for only in item.iter_markers("only_on"))]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]

    def side(item) -> int:
        source = item.callspec.params.get("fleet") if hasattr(item, "callspec") else None
        return next((n for n, name in ((1, "cluster"), (2, "hosts")) if name in (source, *item.fixturenames)), 0)

    def place(item) -> int:
        name = item.path.stem.removeprefix("test_")
        return LONG.index(name) if name in LONG else len(LONG)

    items.sort(key=lambda item: (side(item), place(item)))


def labs(item) -> list[Lab]:
    """Every lab among a test's fixtures, or in one of them."""
    values = list(getattr(item, "funcargs", {}).values())
    found = [lab for value in values if isinstance(lab := getattr(value, "lab", value), Lab)]
    return list({id(lab): lab for lab in found}.values())


@pytest.fixture(scope="session")
def _standard_lab():
    with Lab() as lab:
        yield standard_lab(lab)


@pytest.fixture(scope="session")
def _plain_lab():
    with Lab() as lab:
        yield standard_lab(lab, api=False)


@pytest.fixture
def lab(_standard_lab):
    yield from as_found(_standard_lab)


@pytest.fixture
def plain_lab(_plain_lab):
    yield from as_found(_plain_lab)


@pytest.fixture
def new_lab():
    with Lab() as lab:
        yield lab


def as_found(lab):
    """A scenario has to leave the lab as it found it; the next one gets a clean lab in any case."""
    pristine = Pristine(lab)
    yield lab
    left = pristine.restore()
    assert not left, f"the scenario left traces (undone now):\n{left}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when in ("setup", "call"):
        for lab in labs(item):
            report.sections.append(("state of the lab", describe(lab)))

"""Fixtures of the lab's scenarios; a failing one prints the state of every node."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ground import Lab  # noqa: E402
from ground.state import describe  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when in ("setup", "call"):
        for lab in {id(v): v for v in getattr(item, "funcargs", {}).values() if isinstance(v, Lab)}.values():
            report.sections.append(("state of the lab", describe(lab)))

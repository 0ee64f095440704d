"""Waiting for a condition, with a deadline; never a bare sleep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# Seconds between two looks, unless the caller sets them: at first, and after a while.
OFTEN, SELDOM = 0.05, 0.3
# Deadlines are for an idle machine of two cores. A longer deadline costs time only when a test fails.
PATIENCE = float(os.environ.get("DIRECTWAY_PATIENCE") or (5 if os.environ.get("DIRECTWAY_GROUND") == "vm" else 2))


class NotInTime(AssertionError):
    """The condition did not come true. The message has what was seen last."""


def wait_until(condition: Callable[[], T], what: str, timeout: float = 10, every: float | None = None) -> T:
    """Returns the first truthy value of `condition`. Its errors (AssertionError, KeyError, OSError) count as "not yet".

    `what` completes "waited 10 s for …"; `timeout` is multiplied by PATIENCE. The state of all nodes is added by the pytest plugin (tests/lab/conftest.py).
    """
    timeout *= PATIENCE
    pause = every or OFTEN
    end = time.monotonic() + timeout
    while True:
        try:
            value, seen = condition(), None
            if value:
                return value
            seen = f"last value: {value!r}"
        except (AssertionError, KeyError, IndexError, OSError, ValueError) as reason:
            seen = f"last error: {type(reason).__name__}: {reason}"
        if time.monotonic() >= end:
            raise NotInTime(f"waited {timeout} s for {what}; {seen}")
        time.sleep(pause)
        # Each look costs the nodes more than their own work.
        pause = every or min(pause * 1.25, SELDOM)

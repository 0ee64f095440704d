"""The demo's output: a headline per step, commands as a user would type them, their output indented."""

from __future__ import annotations

import sys
import time

from ground.workstation import Workstation
from ground.place import Place

_bold, _plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")


def step(text: str) -> None:
    print(f"\n{_bold}== {text}{_plain}", flush=True)


def say(text: str) -> None:
    print(text, flush=True)


def command(line: str, output: str) -> None:
    print(f"$ {line}")
    for row in output.rstrip().splitlines():
        print(f"  {row}")
    sys.stdout.flush()


def show(place: Place, *lines: str) -> None:
    for line in lines:
        command(line, place.sh(line))


def run(workstation: Workstation, *lines: str) -> None:
    """Runs commands that may take long: prints output as it comes, and a sign of life if there is none."""
    for line in lines:
        print(f"$ {line}", flush=True)
        began = time.monotonic()
        for row in workstation.rows(line):
            print(f"  … {time.monotonic() - began:.0f} s" if row is None else f"  {row}", flush=True)

"""How the demo speaks: a headline per step, commands as a person would type them, their output indented."""

from __future__ import annotations

import sys

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

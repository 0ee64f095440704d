"""Runs test levels one after the other and prints what each of them counted.

Usage: levels.py LEVEL…, each a make target. All run, whatever fails; the exit status is that of the worst.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TextIO

CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")
PYTEST = re.compile(r"^=+ (.*\b(?:passed|failed|skipped|error|errors|no tests ran)\b.*) in [\d.]+s")
COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?)")
SKIP = re.compile(r"^SKIPPED |^test .* \.\.\. ignored")
FAILURE = re.compile(r"^(FAILED|ERROR) |^test .* \.\.\. FAILED")


@dataclass
class Level:
    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0
    status: int = 0

    def read(self, line: str) -> None:
        if found := CARGO.match(line):
            passed, failed, ignored = map(int, found.groups())
            self.passed, self.failed, self.skipped = self.passed + passed, self.failed + failed, self.skipped + ignored
        elif found := PYTEST.match(line):
            for number, what in COUNT.findall(found.group(1)):
                field = {"passed": "passed", "skipped": "skipped"}.get(what, "failed")
                setattr(self, field, getattr(self, field) + int(number))


def run(name: str, notable: list[str], tell: TextIO = sys.stdout) -> Level:
    level, began = Level(name), time.monotonic()
    print(f"\n== level {name}", file=tell, flush=True)
    child = subprocess.Popen(
        ["make", "--no-print-directory", name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    )
    for line in child.stdout:
        tell.write(line)
        tell.flush()
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        level.read(plain)
        if SKIP.match(plain) or FAILURE.match(plain):
            notable.append(f"{name}: {plain.strip()}")
    level.status, level.seconds = child.wait(), time.monotonic() - began
    return level


def run_both(first: str, second: str, notable: list[str]) -> list[Level]:
    """Two levels at the same time: one computes, the other waits. What the first prints comes when the second has ended."""
    print(f"\n== level {first} runs beside {second}; its output follows", flush=True)
    with ThreadPoolExecutor() as pool, tempfile.TemporaryFile("w+") as log:
        beside = pool.submit(run, first, notable, log)
        level = run(second, notable)
        levels = [beside.result(), level]
        log.seek(0)
        shutil.copyfileobj(log, sys.stdout)
    return levels


class Ahead:
    """What a later level needs, made in the background while another one mostly waits."""

    def __init__(self, target: str):
        self.target, self.began = target, time.monotonic()
        self.log = tempfile.TemporaryFile("w+")
        command = ["nice", "-n", "10", "make", "--no-print-directory", target]
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def wait(self) -> None:
        """Tells how it went. If it failed, the level that needs it makes it again, and tells why."""
        status = self.child.wait()
        print(f"\n== make {self.target}, begun {time.monotonic() - self.began:.0f} s ago: exit status {status}", flush=True)
        self.log.seek(0)
        print(self.log.read(), end="", flush=True)


# Levels that leave time for it, what is made meanwhile, and the level that needs it.
WHILE, MAKE, FOR = ("lab",), "cluster-parts", ("cluster-core", "cluster-test")
# The emulator keeps its processors busy; a cluster waits for much.
BESIDE = ("vm", "cluster-core")


def main(names: list[str]) -> int:
    notable: list[str] = []
    levels: list[Level] = []
    ahead, rest = None, list(names)
    while rest:
        name = rest.pop(0)
        if name in WHILE and set(FOR) & set(names):
            ahead = Ahead(MAKE)
        beside = (name, *rest[:1]) == BESIDE
        if ahead and (beside or name in FOR):
            ahead.wait()
            ahead = None
        if beside:
            levels += run_both(name, rest.pop(0), notable)
        else:
            levels.append(run(name, notable))
    print(f"\n{'level':12} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for level in levels:
        note = "" if level.status == 0 else f"  exit status {level.status}"
        print(f"{level.name:12} {level.passed:7} {level.failed:7} {level.skipped:8} {level.seconds:8.0f}{note}")
    for line in notable:
        print(line)
    broken = sum(1 for level in levels if level.status and not level.failed)
    passed, failed, skipped = (sum(getattr(level, what) for level in levels) for what in ("passed", "failed", "skipped"))
    empty = [level.name for level in levels if not level.passed and not level.status]
    if empty:
        print(f"no test ran on: {', '.join(empty)}")
    print(f"\n{passed} passed, {failed + broken} failed, {skipped} skipped")
    return 1 if failed or broken or empty else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

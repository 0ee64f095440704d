"""Runs test levels and prints the counts of each.

Usage: levels.py LEVEL…, each a make target. All run, even if one fails; the exit status is the worst.

A level that computes and one that waits run at the same time (TOGETHER), and what later levels need is built in the background
from the start, at low priority and one part after the other (PARTS), so that no more than two compilers run at once.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TextIO

CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")
PYTEST = re.compile(r"^=+ (.*\b(?:passed|failed|skipped|error|errors|no tests ran)\b.*) in [\d.]+s")
COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?)")
SKIP = re.compile(r"^SKIPPED |^test .* \.\.\. ignored")
FAILURE = re.compile(r"^(FAILED|ERROR) |^test .* \.\.\. FAILED")


# Neighbouring levels that run at the same time. Simulated kernels and the emulator use the CPUs; an API server and a cluster mostly wait.
TOGETHER = (("sim", "api"), ("vm", "cluster-core"))
GROUND, CLUSTER = {"api", "lab", "vm", "cluster-core", "cluster-test"}, {"cluster-core", "cluster-test"}
# What levels need, in the order in which it is built. A level would build it itself, so if a part fails, its level reports that again.
# The Go builds of the ground have a low priority of their own.
PARTS = (
    (["tests/ground/install", "lab", "api", "helm"], GROUND),
    (["tests/ground/install", "vm"], {"vm"}),
    (["nice", "-n", "10", "make", "--no-print-directory", "image-archive"], CLUSTER),
    (["tests/ground/install", "cluster"], CLUSTER),
)
# Seconds of waiting after which a sign of life is printed.
QUIET = 30
TELLING = threading.Lock()


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


@dataclass
class Part:
    """A command that runs in the background, and the levels that wait for it."""

    command: list[str]
    levels: set[str]
    ended: threading.Event = field(default_factory=threading.Event)
    log: TextIO = field(default_factory=lambda: tempfile.TemporaryFile("w+"))
    status: int = 0
    seconds: float = 0
    told: bool = False

    def make(self) -> None:
        began = time.monotonic()
        try:
            done = subprocess.run(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
            self.status = done.returncode
        finally:
            self.seconds = time.monotonic() - began
            self.ended.set()

    def wait(self, tell: TextIO) -> None:
        """Returns when the command has ended; the first level that waited prints its output."""
        began = time.monotonic()
        while not self.ended.wait(QUIET):
            print(f"  waiting for {' '.join(self.command)} … {time.monotonic() - began:.0f} s", file=tell, flush=True)
        with TELLING:
            if self.told:
                return
            self.told = True
            print(f"\n== {' '.join(self.command)}, made meanwhile in {self.seconds:.0f} s: exit status {self.status}", file=tell)
            self.log.seek(0)
            shutil.copyfileobj(self.log, tell)
            tell.flush()


class Ahead:
    """The parts that some level needs; they run one after the other in the background."""

    def __init__(self, names: list[str]):
        self.parts = [Part(command, levels) for command, levels in PARTS if levels & set(names)]
        threading.Thread(target=self._make_all, name="ahead", daemon=True).start()

    def _make_all(self) -> None:
        for part in self.parts:
            part.make()

    def wait(self, level: str, tell: TextIO) -> None:
        for part in self.parts:
            if level in part.levels:
                part.wait(tell)


def run(name: str, notable: list[str], ahead: Ahead, tell: TextIO = sys.stdout) -> Level:
    ahead.wait(name, tell)
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


def run_both(first: str, second: str, notable: list[str], ahead: Ahead) -> list[Level]:
    """Runs two levels at the same time. The output of the first is printed when the second has ended."""
    print(f"\n== level {first} runs beside {second}; its output follows", flush=True)
    with ThreadPoolExecutor() as pool, tempfile.TemporaryFile("w+") as log:
        beside = pool.submit(run, first, notable, ahead, log)
        level = run(second, notable, ahead)
        levels = [beside.result(), level]
        log.seek(0)
        shutil.copyfileobj(log, sys.stdout)
    return levels


def main(names: list[str]) -> int:
    began = time.monotonic()
    notable: list[str] = []
    levels: list[Level] = []
    ahead, rest = Ahead(names), list(names)
    while rest:
        name = rest.pop(0)
        if (name, *rest[:1]) in TOGETHER:
            levels += run_both(name, rest.pop(0), notable, ahead)
        else:
            levels.append(run(name, notable, ahead))
    print(f"\n{'level':12} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for level in levels:
        note = "" if level.status == 0 else f"  exit status {level.status}"
        print(f"{level.name:12} {level.passed:7} {level.failed:7} {level.skipped:8} {level.seconds:8.0f}{note}")
    print(f"{'in all':12} {time.monotonic() - began:33.0f}")
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

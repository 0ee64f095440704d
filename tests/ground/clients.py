"""Clients: requests to a VIP, which server answered, what failed, how long the worst gap was."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .netns import Namespace
from .place import Process
from .wait import wait_until

CLIENT = str(Path(__file__).resolve().parent / "load_client.py")
# Linux sends a SYN again after a second.
PROMPT = 0.9
_numbers = itertools.count()


@dataclass(frozen=True)
class Outcome:
    """Requests in order of their end; times in seconds."""

    rows: list[dict]

    @property
    def answers(self) -> list[str]:
        return [row["who"] for row in self.rows if "who" in row]

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.answers)

    @property
    def errors(self) -> list[str]:
        return [row["error"] for row in self.rows if "error" in row]

    @property
    def alternations(self) -> int:
        """How often the next answer came from another server than the one before."""
        return sum(a != b for a, b in zip(self.answers, self.answers[1:]))

    @property
    def worst_gap(self) -> float:
        """Longest time between two answers (or from the first start to the first answer)."""
        ends = [row["end"] for row in self.rows if "who" in row]
        if not ends:
            return float("inf")
        begin = min(row["start"] for row in self.rows)
        return max(b - a for a, b in zip([begin, *ends], ends))

    @property
    def outage(self) -> float:
        """Longest time between two connections that were answered promptly: before the client repeated its SYN, after a second."""
        begun = sorted(row["start"] for row in self.rows if "who" in row and row["end"] - row["start"] < PROMPT)
        return max((b - a for a, b in zip(begun, begun[1:])), default=float("inf"))

    @property
    def latencies(self) -> list[float]:
        return sorted(row["end"] - row["start"] for row in self.rows if "who" in row)

    @property
    def servers_per_connection(self) -> dict[int, set[str]]:
        """Of held connections: the servers that answered on each. More than one means that the connection was moved."""
        found: dict[int, set[str]] = {}
        for row in self.rows:
            if "who" in row:
                found.setdefault(row["connection"], set()).add(row["who"])
        return found

    @property
    def not_kept(self) -> list:
        """Of held connections: the errors of those that ended, and the servers of those that had several."""
        return self.errors + [who for who in self.servers_per_connection.values() if len(who) != 1]

    def __str__(self) -> str:
        times = self.latencies
        middle = f", median {times[len(times) // 2] * 1e3:.1f} ms, worst {times[-1] * 1e3:.0f} ms" if times else ""
        return (
            f"{len(self.rows)} requests, {len(self.errors)} failed {Counter(self.errors)}, answered by {dict(self.counts)}, "
            f"{self.alternations} alternations, worst gap {self.worst_gap * 1e3:.0f} ms{middle}"
        )


class Running:
    """A client at work in the background."""

    def __init__(self, process: Process):
        self.process = process

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_) -> None:
        self.process.stop()

    def so_far(self) -> Outcome:
        rows = []
        for line in self.process.text().splitlines():
            if line.startswith("{") and line.endswith("}"):
                rows.append(json.loads(line))
        return Outcome(rows)

    def wait_answers(self, count: int, timeout: float = 10) -> "Running":
        """Waits until at least so many requests in all were answered."""
        wait_until(lambda: len(self.so_far().answers) >= count, f"{count} answers to the client", timeout)
        return self

    def stop(self) -> Outcome:
        self.process.stop()
        return self.so_far()


def _spawn(place: Namespace, *words: object) -> Process:
    log = f"client-{next(_numbers)}.log"
    return place.spawn(["/usr/bin/python3", "-S", CLIENT, *map(str, words)], log)


def requests(
    place: Namespace, vip: str, port: int = 80, n: int = 100, interval: float = 0, timeout: float = 60, sources: tuple[str, ...] = ()
) -> Outcome:
    """`n` requests, each on a new connection, one after the other; from `sources` in turn, each `address` or `address:first-last`."""
    process = _spawn(place, "new", vip, port, n, interval, *sources)
    try:
        process.wait(timeout)
    finally:
        process.kill()
    return Running(process).so_far()


def load(place: Namespace, vip: str, port: int = 80, interval: float = 0.01, sources: tuple[str, ...] = ()) -> Running:
    """New connections until stopped, one every `interval` seconds."""
    return Running(_spawn(place, "new", vip, port, 0, interval, *sources))


def steady(place: Namespace, vip: str, port: int = 80, interval: float = 0.005) -> Running:
    """New connections until stopped at a steady rate: one that gets no answer holds up no other."""
    return Running(_spawn(place, "steady", vip, port, 0, interval))


def hold(place: Namespace, vip: str, port: int = 80, n: int = 40, interval: float = 0.1) -> Running:
    """`n` connections kept open until stopped, with a request on each every `interval` seconds."""
    return Running(_spawn(place, "hold", vip, port, n, interval))

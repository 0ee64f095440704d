"""ARP requests: many in a short time, and repeated ones."""

from __future__ import annotations

import itertools
import os
import re
import socket
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ground import arp
from ground.capture import Frame
from ground.netns import Namespace


def arping_many(place: Namespace, ip: str, device: str = "lan", tries: int = 20, at_once: int = 10) -> set[str]:
    """MACs that `arping` prints in so many tries. It sends one request per second, so several run at once, and each receives all answers."""
    asking = [
        place.spawn(["arping", "-b", "-I", device, "-c", str(tries // at_once), ip], f"arping-{ip}-{n}.log") for n in range(at_once)
    ]
    texts = []
    for one in asking:
        status = one.wait(30)
        assert status <= 1, one.text()
        texts.append(one.text())
        one.log.unlink()
    sent = sum(int(n) for n in re.findall(r"Sent (\d+) probes", "".join(texts)))
    assert sent >= tries, f"only {sent} questions were sent"
    return {mac.lower() for mac in re.findall(r"reply from \S+ \[([0-9A-Fa-f:]+)\]", "".join(texts))}


@contextmanager
def repeated_requests(place: Namespace, *ips: str, sender: str, device: str = "lan", interval: float = 0.01) -> Iterator[threading.Thread]:
    """A client with the address `sender` asks for each address every `interval` seconds, until the end of the block."""
    with arp.line(place, device) as line:
        own = line.getsockname()[4]
        requests = [arp.request(own, sender, ip) for ip in ips]
        with _sending(line, lambda: requests, interval) as thread:
            yield thread


@contextmanager
def forged_announcements(place: Namespace, ip: str, device: str = "lan", interval: float = 0.003) -> Iterator[threading.Thread]:
    """Somebody announces an address every `interval` seconds, by requests and replies in turn, each time from another MAC, until the end of the block."""
    operations = itertools.cycle((arp.REQUEST, arp.REPLY))
    with arp.line(place, device) as line:
        with _sending(line, lambda: [arp.announcement(bytes([2]) + os.urandom(5), ip, next(operations))], interval) as thread:
            yield thread


@contextmanager
def _sending(line: socket.socket, frames: Callable[[], list[bytes]], interval: float) -> Iterator[threading.Thread]:
    over = threading.Event()

    def send() -> None:
        while not over.wait(interval):
            for frame in frames():
                line.send(frame)

    thread = threading.Thread(target=send, name="sending", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True)
class Conflict:
    """Begin and end (seconds since the epoch) of a time in which several MACs answered requests for an address."""

    ip: str
    begin: float
    end: float
    macs: frozenset[str]

    def __str__(self) -> str:
        return f"{self.ip} had answers from {', '.join(sorted(self.macs))} for {(self.end - self.begin) * 1e3:.0f} ms"


def _requests(frames: list[Frame], asker: str, ip: str) -> Iterator[Frame]:
    return (f for f in frames if f.arp == "request" and f.src_mac == asker and f.arp_target_ip == ip)


def _answers(frames: list[Frame], asker: str, ip: str) -> Iterator[Frame]:
    return (f for f in frames if f.arp == "reply" and f.arp_sender_ip == ip and f.dst_mac == asker)


def conflicts(frames: list[Frame], asker: str, ip: str) -> list[Conflict]:
    """Times in which several MACs answered requests of `asker` (its MAC); requests in a row make one conflict.

    An answer belongs to the last request before it.
    """
    asked = [frame.time for frame in _requests(frames, asker, ip)]
    answers: dict[int, dict[str, float]] = {}
    for frame in _answers(frames, asker, ip):
        answers.setdefault(bisect_right(asked, frame.time), {})[frame.arp_sender_mac] = frame.time
    found: list[Conflict] = []
    previous = None
    for number, macs in sorted(answers.items()):
        if len(macs) < 2:
            continue
        conflict = Conflict(ip, asked[max(0, number - 1)], max(macs.values()), frozenset(macs))
        if found and previous == number - 1:
            before = found.pop()
            conflict = Conflict(ip, before.begin, conflict.end, before.macs | conflict.macs)
        found.append(conflict)
        previous = number
    return found


def longest_silence(frames: list[Frame], asker: str, ip: str) -> float:
    """The longest time (seconds) between two answers that `asker` (its MAC) got for an address, or until its last request if none came any more."""
    asked = [frame.time for frame in _requests(frames, asker, ip)]
    answered = [frame.time for frame in _answers(frames, asker, ip)]
    times = [asked[0], *answered, asked[-1]]
    return max(later - earlier for earlier, later in itertools.pairwise(times))

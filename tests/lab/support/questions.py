"""ARP questions: many in a short time, and without end."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ground import arp
from ground.netns import Namespace


def arping_many(place: Namespace, ip: str, device: str = "lan", tries: int = 20, at_once: int = 10) -> set[str]:
    """MACs that `arping` names in so many tries. It asks once a second, so several ask at once, and each hears all answers."""
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
def asking_all_the_time(place: Namespace, ip: str, sender: str, device: str = "lan") -> Iterator[threading.Thread]:
    """A client with the address `sender` asks a hundred times a second, until the end of the block."""
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            arp.who_has(place, ip, device, tries=20, interval=0.01, sender=sender)

    thread = threading.Thread(target=ask, name="asking", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        over.set()
        thread.join()

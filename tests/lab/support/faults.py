"""Faults of directors, drawn at random: kind, director and duration, and how each is done and undone."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from .bad_wire import BadWire
from .directors import revive

# Relative frequencies: "power" is rare, because booting a node takes the longest.
WEIGHTS = {
    "kill": 3, "pause": 3, "cut LAN": 3, "cut API": 2, "cut both": 2, "flap": 2, "restart": 2, "power": 1,
    "broadcasts lost": 2, "one way lost": 2, "restart without API": 2, "VLAN chatter": 1, "forged ARP": 1,
}
# Frames a second.
CHATTER, FORGED = 20, 300


@dataclass(frozen=True)
class Fault:
    """What happens to one director; begins `after` seconds into its round and lasts `seconds`."""

    kind: str
    node: str
    after: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} {self.node} +{self.after:.2f} s for {self.seconds:.2f} s"


def draw(chance: random.Random, directors: tuple[str, ...]) -> list[Fault]:
    """The faults of one round: mostly one, sometimes two directors at once."""
    count = 2 if chance.random() < 0.25 else 1
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    return [
        Fault(chance.choices(kinds, weights)[0], node, chance.uniform(0, 0.5) * number, chance.choice((0.2, 0.5, 1, 2, 4)) * chance.uniform(0.5, 1.5))
        for number, node in enumerate(chance.sample(directors, count))
    ]


class FaultInjector:
    """Applies faults to the directors of a fleet, and notes when the segment was whole again.

    A holder whose agent is dead or paused cannot yield. If its segment became whole meanwhile, the time counts from the agent's return.
    """

    def __init__(self, fleet, directors: tuple[str, ...], vips: list[str]):
        self.fleet = fleet
        self.directors, self.vips = directors, vips
        self.wire = BadWire(fleet)
        self.healed: list[float] = []
        # When some directors were not heard by the others: begin and end.
        self.unheard: list[tuple[float, float]] = []
        self.absent: dict[str, float] = {}

    def run(self, faults: list[Fault]) -> None:
        """Applies all faults, each at its time; returns when the last one is over."""
        steps: list[tuple[float, Callable[[str], None], str]] = []
        for fault in faults:
            begin, end = self._how(fault.kind)
            # A cable that flaps is cut and joined three times.
            parts = 5 if fault.kind == "flap" else 1
            for number in range(parts + 1):
                steps.append((fault.after + fault.seconds * number / parts, end if number % 2 else begin, fault.node))
        began = time.monotonic()
        for at, act, node in sorted(steps, key=lambda step: step[0]):
            time.sleep(max(0.0, began + at - time.monotonic()))
            act(node)

    def _how(self, kind: str) -> tuple[Callable[[str], None], Callable[[str], None]]:
        lab, start = self.fleet.lab, lambda name: self.fleet.start(name, wait=False)
        return {
            "kill": (self._without(lambda name: lab[name].agent.kill()), self._with_again(start)),
            "restart": (self._without(self.fleet.stop), self._with_again(start)),
            "pause": (self._without(lambda name: lab[name].agent.pause()), self._with_again(lambda name: lab[name].agent.resume())),
            "cut LAN": (self._cut_lan, self._join_lan),
            "flap": (self._cut_lan, self._join_lan),
            "cut API": (self._cut_api, self._heal_api),
            "cut both": (lambda name: (self._cut_lan(name), self._cut_api(name)), lambda name: (self._heal_api(name), self._join_lan(name))),
            "broadcasts lost": (lambda name: self.wire.lose_broadcasts(f"broadcasts {name}", name, self._others(name)), self._heal_wire("broadcasts")),
            "one way lost": (self._lose_one_way, self._hear_again),
            "restart without API": (self._restart_without_api, self._heal_api),
            "VLAN chatter": (lambda name: self.wire.lie(f"chatter {name}", self.vips, CHATTER, vlan=True), self._heal_wire("chatter")),
            "forged ARP": (lambda name: self.wire.lie(f"forged {name}", self.vips, FORGED, vlan=False), self._heal_wire("forged")),
            "power": (lambda name: lab[name].power_off(), lambda name: revive(self.fleet, name)),
        }[kind]

    def _without(self, act: Callable[[str], None]) -> Callable[[str], None]:
        def leave(name: str) -> None:
            act(name)
            self.absent[name] = time.time()

        return leave

    def _with_again(self, act: Callable[[str], None]) -> Callable[[str], None]:
        def come_back(name: str) -> None:
            act(name)
            gone = self.absent.pop(name)
            if any(when >= gone for when in self.healed):
                self.healed.append(time.time())

        return come_back

    def _cut_lan(self, name: str) -> None:
        self.fleet.lab[name].cut()

    def _join_lan(self, name: str) -> None:
        self.fleet.lab[name].join()
        self.healed.append(time.time())

    def _others(self, name: str) -> list[str]:
        return [other for other in self.directors if other != name]

    def _heal_wire(self, what: str) -> Callable[[str], None]:
        return lambda name: self.wire.heal(f"{what} {name}")

    def _lose_one_way(self, name: str) -> None:
        self.absent[f"way {name}"] = time.time()
        self.wire.lose_one_way(f"way {name}", name, self._others(name))

    def _hear_again(self, name: str) -> None:
        self.wire.heal(f"way {name}")
        self.unheard.append((self.absent.pop(f"way {name}"), time.time()))

    def _restart_without_api(self, name: str) -> None:
        self._cut_api(name)
        self.fleet.stop(name)
        self.fleet.start(name, wait=False)

    def _cut_api(self, name: str) -> None:
        self.fleet.lab.forwarder(self.fleet.lab[name]).cut()

    def _heal_api(self, name: str) -> None:
        self.fleet.lab.forwarder(self.fleet.lab[name]).heal()

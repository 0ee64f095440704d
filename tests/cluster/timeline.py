"""Records weights in the director's kernel and endpoints in the API with their times. They explain a lost request: the director was
late, the pod ended too early, or IPVS still remembered the client's port.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

from ground import assets
from ground.clients import Outcome

# Prints a line when something has changed; it polls, because the kernel sends no notification.
WEIGHTS = """
import re, sys, time
port, last = "%04X" % int(sys.argv[1]), None
while True:
    found, ours = {}, False
    for line in open("/proc/net/ip_vs"):
        words = line.split()
        if words[0] in ("TCP", "UDP"):
            ours = words[1].endswith(":" + port)
        elif ours and words[0] == "->" and ":" in words[1]:
            address = ".".join(str(int(words[1][i:i + 2], 16)) for i in (0, 2, 4, 6))
            if re.fullmatch("[0-9A-F]{8}:[0-9A-F]{4}", words[1]):
                found[address] = int(words[3])
    if found != last:
        print(time.time(), *("%s=%d" % one for one in sorted(found.items())), flush=True)
        last = found
    time.sleep(0.02)
"""
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


_numbers = itertools.count()


def stand(endpoint: dict) -> str:
    """Node and the true conditions of its endpoint; `node=` for an endpoint that is not ready."""
    true = [name for name, value in endpoint["conditions"].items() if value]
    return f"{endpoint['nodeName']}={'+'.join(sorted(true))}"


@dataclass(frozen=True)
class Lost:
    """A request that failed; `last` is the node that had answered on the same port before, empty for a new port."""

    when: float
    error: str
    last: str

    def __str__(self) -> str:
        return f"LOST on {f'a port of {self.last}' if self.last else 'a new port'}: {self.error}"


class Timeline:
    """Records from construction to stop(): weights on the director, endpoints (ready, serving, terminating) by node."""

    def __init__(self, site, port: int, service: str):
        self.names = {node.ip: name for name, node in site.lab.nodes.items()}
        number = next(_numbers)
        self.weights = site["d"].spawn(["/usr/bin/python3", "-S", "-c", WEIGHTS, str(port)], f"weights-{number}.log")
        watch = (
            f"{assets.tool('kubectl', 'api')} --kubeconfig {site.api.config} get "
            f"--raw '{SLICES}?watch=1&labelSelector=kubernetes.io/service-name={service}' | "
            'while read -r line; do echo "$EPOCHREALTIME $line"; done'
        )
        self.endpoints = site.host.spawn(watch, f"endpoints-{number}.log")

    def stop(self) -> None:
        self.weights.kill()
        self.endpoints.kill()

    def events(self) -> list[tuple[float, str]]:
        found = []
        for line in self.weights.text().splitlines():
            when, *weights = line.split()
            known = [(self.names[address], weight) for address, weight in (one.split("=") for one in weights)]
            found.append((float(when), "weights: " + " ".join(f"{name}={weight}" for name, weight in known)))
        for line in self.endpoints.text().splitlines():
            when, _, event = line.partition(" ")
            endpoints = json.loads(event)["object"].get("endpoints") or []
            found.append((float(when), "endpoints: " + " ".join(sorted(map(stand, endpoints)))))
        return sorted(found)

    def lost(self, outcomes: list[Outcome]) -> list[Lost]:
        before: dict[int, str] = {}
        found = []
        for row in sorted((row for outcome in outcomes for row in outcome.rows), key=lambda row: row["start"]):
            port = row.get("port", 0)
            if "error" in row:
                found.append(Lost(row["start"], row["error"], before.get(port, "")))
            else:
                before[port] = row["who"]
        return found

    def weight(self, node: str, when: float) -> str:
        """The weight of a node in the director's kernel at a time; empty if it had no destination."""
        seen = [text for at, text in self.events() if at <= when and text.startswith("weights:")]
        return dict(one.split("=") for one in seen[-1].split()[1:]).get(node, "") if seen else ""

    def describe(self, outcomes: list[Outcome]) -> str:
        """All events, with the lost requests between them."""
        lines = []
        told = [(one.when, str(one)) for one in self.lost(outcomes)]
        for text, group in itertools.groupby(sorted([*self.events(), *told]), key=lambda event: event[1]):
            events = list(group)
            times = f" ({len(events)} times until {events[-1][0]:.3f})" if len(events) > 1 else ""
            lines.append(f"{events[0][0]:.3f} {text}{times}")
        return "\n".join(lines)

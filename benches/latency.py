"""How long it takes from a VirtualService's creation to the first good request, and from a change to the director's kernel."""

from __future__ import annotations

import time

from ground import Lab, judges, web
from ground.assets import ROOT
from ground.objects import virtual_service
from ground.standard import standard_lab
from ground.wait import wait_until

STATES = "/apis/directway.dev/v1alpha1/nodestates"
SERVICES = "/apis/directway.dev/v1alpha1/namespaces/default/virtualservices"


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds by kind of change, in order of the rounds."""
    with Lab() as lab:
        standard_lab(lab)
        lab.kubectl(f"apply -f {ROOT / 'crds'}")
        for name in ("r1", "r2", "r3"):
            web.start(lab[name])
        lab.start_controller()
        for node in lab.nodes.values():
            node.start_agent()
        for node in lab.nodes.values():
            node.agent.wait_ready()
        create, weight, label = [], [], []
        for number in range(rounds):
            vip = f"10.77.0.{100 + number}"
            rest(lab)
            create.append(first_request(lab, vip))
            rest(lab)
            weight.append(weight_change(lab, vip))
            label.append(label_change(lab, vip))
            lab.api.request("DELETE", f"{SERVICES}/bench")
            wait_until(lambda: not any(judges.devices_with(node, vip) for node in lab.nodes.values()), f"{vip} to be gone", 30)
        return {"create → first good request": create, "weight changed → kernel": weight, "label taken → kernel": label}


def rest(lab: Lab) -> None:
    """Waits until every NodeState is a second old: agents write theirs once a second at most, and that limit must not delay a round."""
    seen, since = None, time.monotonic()

    def unchanged() -> bool:
        nonlocal seen, since
        items = lab.api.request("GET", STATES)["items"]
        versions = [item["metadata"]["resourceVersion"] for item in items]
        if versions != seen:
            seen, since = versions, time.monotonic()
        return time.monotonic() - since > 1.1

    wait_until(unchanged, "NodeStates to be left alone for a second", 30, every=0.05)


def first_request(lab: Lab, vip: str) -> float:
    began = time.monotonic()
    lab.api.request("POST", SERVICES, virtual_service("bench", vip, scheduler="wrr", drainSeconds=0))

    def answered() -> bool:
        # A short timeout, because without an ARP answer or a destination a connection fails only after seconds.
        with lab.host.connect(vip, 80, 0.2) as line:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"200 OK" in line.recv(4096)

    wait_until(answered, f"an answer from {vip}", 30, every=0.005)
    return time.monotonic() - began


def weight_change(lab: Lab, vip: str) -> float:
    """Seconds until ipvsadm on the director shows the new weight; it runs about every 30 ms, which is part of the figure."""
    wait_until(lambda: len(judges.weights(lab["d"], f"{vip}:80")) == 3, "three destinations", 15)
    began = time.monotonic()
    patch = {"spec": {"realServers": {"weight": 7}}}
    lab.api.request("PATCH", f"{SERVICES}/bench", patch, "application/merge-patch+json")
    wait_until(lambda: set(judges.weights(lab["d"], f"{vip}:80").values()) == {7}, "the new weight", 15, every=0.005)
    return time.monotonic() - began


def label_change(lab: Lab, vip: str) -> float:
    """Seconds until the destination of a node that lost its backend label has weight 0 or is gone. Puts the label back."""
    node, key = "/api/v1/nodes/r3", "directway.dev/backend"
    address = lab["r3"].ip

    def labelled(value: str | None) -> None:
        lab.api.request("PATCH", node, {"metadata": {"labels": {key: value}}}, "application/merge-patch+json")

    began = time.monotonic()
    labelled(None)
    wait_until(lambda: not weight_of(lab, vip, address), "the destination to lose its weight", 15, every=0.005)
    took = time.monotonic() - began
    labelled("true")
    wait_until(lambda: weight_of(lab, vip, address), "the destination to have its weight again", 15)
    return took


def weight_of(lab: Lab, vip: str, address: str) -> int:
    return judges.weights(lab["d"], f"{vip}:80").get(address, 0)

"""How long it takes from kubectl to the first good request, and from a change to the kernel."""

from __future__ import annotations

import time

from ground import Lab, judges, web
from ground.assets import ROOT
from ground.standard import standard_lab
from ground.wait import wait_until

SERVICES = "/apis/directway.dev/v1alpha1/namespaces/default/virtualservices"


def virtual_service(vip: str, weight: int = 1) -> dict:
    spec = {
        "vips": [vip], "ports": [{"port": 80}], "scheduler": {"name": "wrr"},
        "realServers": {"nodeSelector": {}, "weight": weight}, "drainSeconds": 0,
    }
    return {"apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService", "metadata": {"name": "bench"}, "spec": spec}


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds, per kind of change, in order."""
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
        create, change = [], []
        for number in range(rounds):
            vip = f"10.77.0.{100 + number}"
            create.append(first_request(lab, vip))
            change.append(weight_change(lab, vip))
            lab.api.request("DELETE", f"{SERVICES}/bench")
            wait_until(lambda: not any(judges.devices_with(node, vip) for node in lab.nodes.values()), f"{vip} to be gone", 30)
        return {"create → first good request": create, "weight change → kernel": change}


def first_request(lab: Lab, vip: str) -> float:
    began = time.monotonic()
    lab.api.request("POST", SERVICES, virtual_service(vip))

    def answered() -> bool:
        # Without an answer to ARP a connection fails only after seconds; so does one that finds no destination yet.
        with lab.host.connect(vip, 80, 0.2) as line:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"200 OK" in line.recv(4096)

    wait_until(answered, f"an answer from {vip}", 30, every=0.005)
    return time.monotonic() - began


def weight_change(lab: Lab, vip: str) -> float:
    """By the director's own view, asked for about every 30 ms; that pause is part of the figure."""
    wait_until(lambda: len(judges.weights(lab["d"], f"{vip}:80")) == 3, "three destinations", 15)
    began = time.monotonic()
    patch = {"spec": {"realServers": {"weight": 7}}}
    lab.api.request("PATCH", f"{SERVICES}/bench", patch, "application/merge-patch+json")
    wait_until(lambda: set(judges.weights(lab["d"], f"{vip}:80").values()) == {7}, "the new weight", 15, every=0.005)
    return time.monotonic() - began

"""One manifest on real kernels: with an API server that knows the nodes, or with a directory of manifests."""

from __future__ import annotations

import time

from ground import Lab, judges, web

import proof
from hosts import PlainHosts
from kubernetes import Kubernetes
from console import say, step

SEGMENT = ("shop", "192.168.188.0/24")
VIP = "192.168.188.120"
REAL_SERVERS = ("web-1", "web-2", "web-3")
STANDBY = "director-2"
NODES = ("director", *REAL_SERVERS, STANDBY)


def show(lab: Lab, source: str) -> None:
    began = time.monotonic()
    lab.segment(*SEGMENT)
    for number, name in enumerate(NODES):
        lab.node(name, [(SEGMENT[0], f"192.168.188.{10 + number}/24")])
    step("Boot one director, three real servers and a spare node, each with its own kernel")
    lab.boot()
    servers = {name: web.start(lab[name]) for name in REAL_SERVERS}
    say(f"{len(NODES)} kernels and three web servers run after {time.monotonic() - began:.1f} s.")
    before = {name: judges.snapshot(lab[name]) for name in NODES}

    platform = Kubernetes(lab, NODES) if source == "kubernetes" else PlainHosts(lab, NODES)
    platform.start()
    platform.apply_example()
    for name in NODES:
        if name != STANDBY:
            proof.what_it_got(lab, name, NODES)

    proof.twelve_requests(lab, VIP)
    proof.who_has(lab, SEGMENT[0], VIP, NODES)
    proof.path_of_a_request(lab, SEGMENT[0], VIP, NODES)

    step("Give web-3 three times the weight")
    platform.set_weight("web-3", 3)
    proof.spread(lab, VIP, {"web-1": 20, "web-2": 20, "web-3": 60}, 100)

    step("End the application of web-2, and start it again, while requests go on")
    proof.application_stops(lab, VIP, NODES[0], "web-2", servers["web-2"].stop, lambda: web.start(lab["web-2"]), platform)

    step("Make the spare node a second director, and cut the first one off while requests go on")
    platform.add_director(STANDBY)
    proof.failover(lab, VIP, NODES[0], STANDBY, len(REAL_SERVERS))

    step("Delete it: nothing is left behind")
    platform.delete_example()
    proof.nothing_left(lab, before)
    platform.stop()

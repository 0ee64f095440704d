"""The lab that most scenarios use: director d, real servers r1 r2 r3, one segment, API server.

And the cluster of `make cluster-shell` and the demo: its nodes and addresses are those of docs and examples.
"""

from __future__ import annotations

from . import assets, cluster
from .lab import Lab
from .objects import BACKEND, DIRECTOR

SHOP = ("shop", "192.168.188.0/24")
CLUSTER_NODES = ("node-1", "node-2", "node-3", "node-4")
LABELS = {"d": DIRECTOR, "r1": BACKEND, "r2": BACKEND, "r3": BACKEND}


def standard_lab(lab: Lab, api: bool = True) -> Lab:
    """Adds and boots the nodes; with `api` it starts the API server meanwhile."""
    for name in LABELS:
        lab.node(name)
    for node in lab.nodes.values():
        node.start()
    if api:
        lab.start_api()
    for node in lab.nodes.values():
        node.wait_ready()
    if api:
        register(lab)
    return lab


def register(lab: Lab) -> None:
    """Makes the Node objects, with the labels that give each its role."""
    for name, labels in LABELS.items():
        lab.api.register(name, lab[name].ip, labels)


def standard_cluster(lab: Lab, tell: cluster.Tell) -> Lab:
    """Boots a cluster with directway's image on every node; directway is not installed."""
    lab.segment(*SHOP)
    cluster.boot(lab, CLUSTER_NODES, SHOP[0], tell)
    cluster.start_first_pods(lab)
    cluster.load_image(lab, assets.image())
    tell("directway's image is on every node")
    cluster.wait_first_pods(lab)
    tell("a first pod runs on every node")
    return lab

"""The lab that most scenarios use: director d, real servers r1 r2 r3, one segment, API server."""

from __future__ import annotations

from .lab import Lab

DIRECTOR = {"directway.dev/director": "true"}
BACKEND = {"directway.dev/backend": "true"}
LABELS = {"d": DIRECTOR, "r1": BACKEND, "r2": BACKEND, "r3": BACKEND}


def standard_lab(lab: Lab, api: bool = True) -> Lab:
    """Adds and boots the nodes; with `api`, the API server too, which starts meanwhile."""
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

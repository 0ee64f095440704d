"""Requests that go on during a scenario, and their outcome."""

from __future__ import annotations

import time

from ground import clients, judges, web as web_server
from ground.clients import Outcome, Running
from ground.wait import wait_until

from cluster_site import SERVICES, ClusterSite
from objects import virtual_service

VIP, PORT, SERVERS = "10.77.0.101", 8080, ("r1", "r2")


def lost(load: Running, more: int = 50) -> list[str]:
    """Waits for `more` answers, then stops the client; returns the errors of requests that failed."""
    load.wait_answers(len(load.so_far().answers) + more, 20)
    return load.stop().errors


def since(outcome: Outcome, when: float) -> Outcome:
    """The requests that began after `when`, by the clock."""
    return Outcome([row for row in outcome.rows if row["start"] >= when])


class ManyClients:
    """Many requests: several clients, and web servers right on the nodes, which are faster than those in pods. A context manager.

    Not more than 400 a second: a client's address has 28,000 ports, and cannot use a port again for a minute.
    """

    def __init__(self, site: ClusterSite, size: int, interval: float = 0.01):
        self.site = site
        self.servers = [web_server.start(site[node], PORT) for node in SERVERS]
        site.serve(virtual_service("busy", VIP, PORT))
        self.clients = [clients.load(site.host, VIP, PORT, interval) for _ in range(size)]
        for one in self.clients:
            one.wait_answers(5, 20)
        self.began = time.time()

    def so_far(self) -> Outcome:
        """The requests of all clients since all of them run, in order of their end."""
        rows = [row for one in self.clients for row in one.so_far().rows]
        return since(Outcome(sorted(rows, key=lambda row: row["end"])), self.began)

    def stop(self) -> Outcome:
        for one in self.clients:
            one.process.stop()
        return self.so_far()

    def __enter__(self) -> "ManyClients":
        return self

    def __exit__(self, *_) -> None:
        for one in self.clients:
            one.process.kill()
        self.site.api.raw("DELETE", f"{SERVICES}/busy")
        for node in ("d", *SERVERS):
            wait_until(lambda node=node: not judges.devices_with(self.site[node], VIP), f"{VIP} to leave {node}", 30)
        for server in self.servers:
            server.kill()

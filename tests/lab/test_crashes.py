"""SIGKILL of agents at random moments of changes: the next agent finishes the job."""

import os
import random
import threading

import pytest
from ground import clients
from support import VIP, virtual_service

NODES = ("d", "r1", "r2")


def change(cluster, rng: random.Random) -> None:
    """One random change of VirtualServices or nodes."""
    kind = rng.choice(["weight", "recreate", "ports", "device", "role"])
    if kind == "weight":
        cluster.set_weight(rng.choice(["r1", "r2"]), rng.randint(1, 9))
    elif kind == "recreate":
        if "web" in cluster.services:
            cluster.delete("web")
        cluster.apply(virtual_service())
    elif kind == "ports":
        cluster.apply(virtual_service("web", VIP, *rng.choice([(80,), (80, 8080), (80, 81, 82)])))
    elif kind == "device":
        cluster.apply(virtual_service(real_servers={"vipDevice": rng.choice(["lo", "vip0"])}))
    else:
        backend = {"directway.dev/backend": "true"}
        cluster.label("r2", {} if cluster.labels["r2"] else backend)


@pytest.mark.parametrize("rounds", [30])
def test_kill_9_at_random_moments(cluster, rounds):
    seed = int(os.environ.get("DIRECTWAY_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"DIRECTWAY_SEED={seed}")
    rng = random.Random(seed)
    cluster.assign_roles().serve()
    for turn in range(rounds):
        victim = rng.choice(NODES)
        # The moment is random on purpose: the test waits for no condition.
        killer = threading.Timer(rng.uniform(0, 0.25), cluster.lab[victim].agent.kill)
        killer.start()
        change(cluster, rng)
        killer.join()
        cluster.start(victim, wait=False)
        if turn % 5 == 4:
            settle(cluster, f"seed {seed}, round {turn}")
    cluster.delete()
    cluster.wait_untouched(30)


def settle(cluster, where: str) -> None:
    """Starts all agents again, and waits until the kernels have what the last change wants."""
    service = cluster.services["web"]
    cluster.start()
    cluster.wait_serving(service, timeout=30)
    outcome = clients.requests(cluster.host, VIP, n=6)
    assert outcome.errors == [], f"{where}: {outcome}"

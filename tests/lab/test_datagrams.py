"""UDP has no connections that end: a client that keeps its port stays with its real server as long as that is a destination."""

import pytest
from ground import judges
from ground.wait import wait_until
from support import VIP, virtual_service
from support.udp import Client, answer

PORT = 514
LOG = {"ports": [{"name": "log", "port": PORT, "protocol": "UDP"}]}


@pytest.fixture
def served(cluster):
    """Two real servers, the first of which may lose its power; the site sets `expire_nodest_conn`."""
    cluster.assign_roles(real_servers=("late", "r1"))
    cluster.start()
    return cluster


def start(fleet, **spec):
    fleet.apply(virtual_service(**LOG, **spec))
    wait_until(lambda: len(weights(fleet)) == 2 and all(weights(fleet).values()), "both real servers")
    return [answer(fleet.lab[name], VIP, PORT) for name in ("late", "r1")]


def weights(fleet):
    return judges.weights(fleet.director(), f"{VIP}:{PORT}")


def client_of(fleet, name) -> Client:
    """A client that got this real server."""
    for _ in range(20):
        client = Client(fleet.host, VIP, PORT)
        if wait_until(client.ask, "an answer") == name:
            return client
        client.socket.close()
    raise AssertionError(f"no client got {name}")


def test_a_client_leaves_a_real_server_that_dies(served):
    _, other = start(served)
    with client_of(served, "late") as client:
        served.lab["late"].power_off()
        # It is given up after three questions in a row without an answer.
        wait_until(lambda: client.ask() == "r1", "r1 to answer", 60)
        assert list(weights(served)) == [served.site.address("r1")]
    other.stop()
    served.remove_node("late")


def test_a_client_is_drained_and_then_sent_elsewhere(served):
    programs = start(served, drainSeconds=3)
    with client_of(served, "late") as client:
        served.label("late", {})
        wait_until(lambda: weights(served).get(served.site.address("late")) == 0, "its weight to be 0")
        assert client.ask() == "late"
        wait_until(lambda: client.ask() == "r1", "r1 to answer")
        assert list(weights(served)) == [served.site.address("r1")]
    for program in programs:
        program.stop()

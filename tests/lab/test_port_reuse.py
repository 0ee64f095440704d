"""A client connects again from the same port while IPVS still has its last connection: two minutes in direct routing.

IPVS settings on the director decide where such a request goes.
"""

import pytest
from ground import clients, judges, web
from support import VIP

SETTINGS = ("expire_nodest_conn", "conn_reuse_mode", "expire_quiescent_template")
PORT = 20000


@pytest.fixture
def settings(hosts):
    """Sets IPVS settings on the director by hand, and restores them afterwards."""
    hosts.assign_roles()
    director = hosts.director()
    before = {name: judges.sysctl(director, f"net.ipv4.vs.{name}") for name in SETTINGS}

    def set_(**values: int) -> None:
        for name, value in values.items():
            director.sh(["sysctl", "-qw", f"net.ipv4.vs.{name}={value}"])

    yield set_
    set_(**before)


def ask(hosts, port: int) -> str:
    """The real server that answers a request from this port, or the error."""
    outcome = clients.requests(hosts.host, VIP, n=1, sources=(f"{hosts.lab.address()}:{port}",))
    return outcome.errors[0].split(":")[0] if outcome.errors else outcome.answers[0]


@pytest.mark.parametrize("end", ["no weight", "deleted"])
@pytest.mark.parametrize(
    "expire_nodest_conn, conn_reuse_mode, goes_on", [(0, 1, False), (1, 1, True), (0, 3, True)],
)
def test_a_port_comes_again_after_its_server_has_ended(hosts, settings, end, expire_nodest_conn, conn_reuse_mode, goes_on):
    settings(expire_nodest_conn=expire_nodest_conn, conn_reuse_mode=conn_reuse_mode)
    service = hosts.serve(drainSeconds=1)
    first = ask(hosts, PORT)
    other = {"r1": "r2", "r2": "r1"}[first]
    if end == "deleted":
        hosts.label(first, {})
        hosts.wait_weights(service, {other: 1})
    else:
        hosts.set_weight(first, 0)
        hosts.wait_weights(service, {first: 0, other: 1})
    hosts.site.servers[first].stop()
    try:
        assert f"FIN_WAIT    {hosts.lab.address()}:{PORT}" in hosts.director().sh("ipvsadm -Lcn") or end == "deleted"
        assert ask(hosts, PORT + 1) == other, "a port that IPVS does not know"
        assert ask(hosts, PORT) == (other if goes_on else {"no weight": "ConnectionRefusedError", "deleted": "TimeoutError"}[end])
    finally:
        hosts.site.servers[first] = web.start(hosts.lab[first])


@pytest.mark.parametrize("conn_reuse_mode, share", [(1, 0), (3, 5)])
def test_ports_that_come_again_and_a_new_real_server(hosts, settings, conn_reuse_mode, share):
    settings(expire_nodest_conn=1, conn_reuse_mode=conn_reuse_mode)
    service = hosts.serve()
    hosts.set_weight("r2", 0)
    hosts.wait_weights(service, {"r1": 1, "r2": 0})
    ask_all = lambda: clients.requests(hosts.host, VIP, n=10, sources=(f"{hosts.lab.address()}:{PORT}-{PORT + 9}",)).counts
    assert ask_all() == {"r1": 10}
    hosts.set_weight("r2", 1)
    hosts.wait_weights(service, {"r1": 1, "r2": 1})
    assert ask_all()["r2"] == share


@pytest.mark.parametrize("expire_quiescent_template", [0, 1])
def test_a_persistent_client_leaves_a_real_server_without_weight(hosts, settings, expire_quiescent_template):
    """With the setting, a persistent client gets another real server also from a new port; without it, it does not."""
    settings(expire_nodest_conn=1, expire_quiescent_template=expire_quiescent_template)
    service = hosts.serve(persistence={"timeoutSeconds": 60})
    first = ask(hosts, PORT)
    other = {"r1": "r2", "r2": "r1"}[first]
    hosts.set_weight(first, 0)
    hosts.wait_weights(service, {first: 0, other: 1})
    assert ask(hosts, PORT + 1) == (other if expire_quiescent_template else first)

"""Direct routing to pods with a network of their own works by a hostPort, which the network plugin rewrites on the pod's node."""

import pytest
from ground import clients, judges, kube_proxy
from ground.wait import wait_until
from objects import NODE_NAME, SHOP_VIP, container, pod, virtual_service

PORT, POD_PORT = 8081, 8080
NODES = ("d", "r1", "r2")
# Answers its node's name and the client's address.
ANSWER = (
    'mkdir -p /tmp/web/cgi-bin; cd /tmp/web/cgi-bin; echo \'#!/bin/sh\nwho="$NODE_NAME $REMOTE_ADDR"; '
    'printf "Content-Length: %d\\r\\n\\r\\n%s" ${#who} "$who"\' > index.cgi; chmod +x index.cgi; '
    f"exec httpd -f -p 0.0.0.0:{POD_PORT} -h /tmp/web"
)


def host_port(node: str) -> dict:
    server = container("web", ANSWER, env=[NODE_NAME], ports=[{"containerPort": POD_PORT, "hostPort": PORT}])
    return pod(f"port-{node}", nodeName=node, containers=[server])


@pytest.fixture
def site(installed):
    """A pod on each real server, and kube-proxy on all nodes that take part."""
    proxies = [kube_proxy.start(installed[name], kube_proxy.config("iptables")) for name in NODES]
    installed.api.apply(
        host_port("r1"), host_port("r2"),
        virtual_service("ported", SHOP_VIP, PORT, scheduler="rr"),
    )
    installed.kubectl("wait --for=condition=Ready pod/port-r1 pod/port-r2 dvs/ported --timeout=60s", timeout=70)
    wait_until(lambda: len(judges.weights(installed["d"], f"{SHOP_VIP}:{PORT}")) == 2, "both real servers", 30)
    yield installed
    installed.stop_serving()
    installed.kubectl("delete pod port-d port-r1 port-r2 --ignore-not-found --wait")
    for process, name in zip(proxies, NODES):
        process.kill()
        for table in ("nat", "filter", "mangle"):
            installed[name].sh(f"iptables-legacy -t {table} -F; iptables-legacy -t {table} -X")


def test_a_host_port_serves_a_vip(site):
    """The pod may listen on another port than the VIP's, and sees the client's own address."""
    assert [one["status"]["podIP"] for one in pods(site)] != [site["r1"].ip, site["r2"].ip]
    outcome = clients.requests(site.host, SHOP_VIP, PORT, n=40)
    client = site.lab.address()
    assert outcome.counts == {f"r1 {client}": 20, f"r2 {client}": 20}, outcome


def test_a_director_with_such_a_pod_keeps_all_connections(site):
    """The hostPort rule on the director applies before IPVS, so docs/concepts.md keeps such pods off directors."""
    site.api.apply(host_port("d"))
    site.kubectl("wait --for=condition=Ready pod/port-d --timeout=60s", timeout=70)
    outcome = clients.requests(site.host, SHOP_VIP, PORT, n=20)
    assert outcome.counts == {f"d {site.lab.address()}": 20}, outcome


def pods(site) -> list[dict]:
    return [site.api.get(f"/api/v1/namespaces/default/pods/port-{node}") for node in ("r1", "r2")]

"""The API server is gone for a moment or for long, or returns with other keys; requests go on."""

import os
import time

import pytest
from ground import cluster as ground, judges
from ground.wait import wait_until
from cluster_site import SERVICES
from objects import virtual_service
from traffic import lost

OUTAGE = float(os.environ.get("DIRECTWAY_OUTAGE", 60))  # seconds
ANOTHER = "10.77.0.102"
AGENTS = ("d", "r1", "r2")


def write_and_read(site) -> None:
    """Serves another VIP, for which all parts must reach the API server: agents report, the director reads that, a controller sets Ready."""
    try:
        site.serve(virtual_service("another", ANOTHER))
    finally:
        site.api.raw("DELETE", f"{SERVICES}/another")
    for node in AGENTS:
        wait_until(lambda node=node: judges.devices_with(site[node], ANOTHER) == [], f"{ANOTHER} to leave {node}", 30)


def test_the_api_server_restarts(web, load):
    web.api.stop()
    load.wait_answers(len(load.so_far().answers) + 200, 30)
    web.api.start()
    web.api.wait_ready()
    web.reweigh("r2", 2, 60)
    assert lost(load) == []


def test_certificate_and_tokens_change(web, load):
    """The API server comes back with another certificate, and accepts no token that it gave before.

    Restarted kubelets fetch new tokens at once, and not when most of a token's life is over; agents and controllers
    must notice the new file, which they read once a minute.
    """
    before, old = web.agents(), {node: token(web, node) for node in AGENTS}
    certificate = serving_certificate(web)
    assert status_for(web, old["d"]) != "401"
    web.api.stop()
    web.api.renew_keys()
    web.api.start()
    web.api.wait_ready()
    assert serving_certificate(web) != certificate
    assert status_for(web, old["d"]) == "401"
    for node in web.lab.nodes.values():
        node.kubelet.stop()
        node.start_kubelet()
    began = time.monotonic()
    for node in AGENTS:
        wait_until(lambda node=node: status_for(web, token(web, node)) != "401", f"a new token on {node}", 60)
    renewed = time.monotonic() - began
    web.reweigh("r1", 3, 70)
    print(f"\nnew tokens {renewed:.0f} s after the kubelets' start, in use at most {time.monotonic() - began:.0f} s after it")
    write_and_read(web)
    assert web.agents() == before, "a restart would have helped, too"
    assert lost(load) == []


def token(site, node: str) -> str:
    """The token that the kubelet wrote for the node's agent."""
    uid = site.pods("agent")[node][0]["metadata"]["uid"]
    return site[node].sh(f"cat /var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~projected/*/token").strip()


def status_for(site, bearer: str) -> str:
    url = f"{site.api.url}/api/v1/nodes?limit=1"
    return site.host.sh(["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Authorization: Bearer {bearer}", url])


def serving_certificate(site) -> str:
    """The serial number of the API server's certificate, from openssl."""
    return site.host.sh(f"openssl s_client -connect {site.api.address}:{site.api.port} </dev/null 2>/dev/null | openssl x509 -noout -serial")


@pytest.mark.soak
def test_the_api_server_is_gone_for_long(web, load):
    """No kernel changes and no request is lost; afterwards all agents work again, and no pod was restarted."""
    before, kernels = web.agents(), {node: judges.snapshot(web[node]) for node in AGENTS}
    web.api.stop()
    try:
        end = time.monotonic() + OUTAGE
        wait_until(lambda: time.monotonic() >= end, "the outage to be over", OUTAGE + 10, every=1)
        seen = {node: judges.snapshot(web[node]) for node in AGENTS}
    finally:
        web.api.start()
        web.api.wait_ready()
    assert {node: judges.difference(kernels[node], seen[node]) for node in AGENTS} == dict.fromkeys(AGENTS, "")
    back = time.monotonic()
    web.reweigh("r2", 2, 60)
    write_and_read(web)
    wait_until(lambda: all(ground.ready(web.lab).values()), "every node to be Ready", 90, every=0.5)
    print(f"\nall as before {time.monotonic() - back:.0f} s after an outage of {OUTAGE:.0f} s; {load.so_far()}")
    assert web.agents() == before
    assert lost(load) == []

"""Faults of nodes, agents and controllers, while requests go on."""

import time

import pytest
from ground import clients, cluster as ground, judges
from ground.wait import wait_until
from cluster_site import SPACE
from objects import VIP
from traffic import lost, since

STATES = "/apis/directway.dev/v1alpha1/nodestates"
FREEZE = 10  # seconds


@pytest.mark.parametrize("node", ["d", "r1"])
def test_an_agent_is_deleted(web, load, node):
    before = web.pods("agent")[node][0]["metadata"]["name"]
    web.kubectl(f"--namespace {SPACE} delete pod {before} --wait=false")
    wait_until(lambda: web.pods("agent")[node][0]["metadata"]["name"] != before, "another pod", 60)
    web.kubectl(f"--namespace {SPACE} rollout status daemonset/directway-agent --timeout=60s", timeout=70)
    assert lost(load) == []


def test_the_kubelet_stops(web, load):
    """Agent and kernel do not depend on the kubelet: requests go on, and changes still arrive."""
    web["d"].kubelet.stop()
    try:
        web.kubectl("annotate node r1 directway.dev/weight=3 --overwrite")
        wait_until(lambda: web.weights() == {"r1": 3, "r2": 1}, "the new weight", 30)
    finally:
        web["d"].start_kubelet()
        web.kubectl("annotate node r1 directway.dev/weight-")
    wait_until(lambda: web.weights() == {"r1": 1, "r2": 1}, "the old weight", 30)
    assert lost(load) == []


def test_the_controllers_are_deleted(web, load):
    """Traffic does not depend on controllers; the status follows again when they are back."""
    web.kubectl(f"--namespace {SPACE} delete pods -l app.kubernetes.io/component=controller --wait=false")
    web.kubectl(f"--namespace {SPACE} rollout status deployment/directway-controller --timeout=90s", timeout=100)
    assert lost(load) == []
    generation = web.api.get("/apis/directway.dev/v1alpha1/namespaces/default/virtualservices/web")["metadata"]["generation"]
    web.kubectl("patch dvs web --type merge -p '{\"spec\": {\"drainSeconds\": 7}}'")

    def told() -> bool:
        return web.api.get("/apis/directway.dev/v1alpha1/namespaces/default/virtualservices/web")["status"]["observedGeneration"] > generation

    wait_until(told, "a status of the new generation", 90)


def back_to_work(site) -> None:
    """Waits for every pod, also those on the pod network."""
    for place, what in ((SPACE, "daemonset/directway-agent"), (SPACE, "deployment/directway-controller"), ("default", "daemonset/web-servers")):
        site.kubectl(f"--namespace {place} rollout status {what} --timeout=120s", timeout=130)


def test_a_real_server_is_rebooted(web):
    """It loses power and boots with its disk: its pods start again, and it gets its share."""
    web["r1"].power_off()
    web["r1"].start()
    web["r1"].wait_ready()
    wait_until(lambda: ground.ready(web.lab)["r1"], "the node to be Ready", 60)
    back_to_work(web)
    wait_until(lambda: web.weights() == {"r1": 1, "r2": 1}, "both real servers", 60)
    wait_until(lambda: clients.requests(web.host, VIP, n=20).counts == {"r1": 10, "r2": 10}, "their shares", 60)


def test_a_director_is_rebooted(web):
    web["d"].power_off()
    web["d"].start()
    web["d"].wait_ready()
    wait_until(lambda: judges.devices_with(web["d"], VIP) == ["eth0", "lo"], "the VIP to be back", 120)
    wait_until(lambda: clients.requests(web.host, VIP, n=20).counts == {"r1": 10, "r2": 10}, "both real servers", 60)
    back_to_work(web)


def freeze(site, node: str) -> tuple[float, float]:
    """Stops a node's kernel, and with it all its processes, for a while; returns begin and end, by the clock."""
    began, end = time.time(), time.monotonic() + FREEZE
    site[node].freeze()
    try:
        wait_until(lambda: time.monotonic() >= end, f"{node} to have been frozen", FREEZE + 10, every=0.2)
    finally:
        thawed = time.time()
        site[node].thaw()
    return began, thawed


def test_a_director_freezes(web, load):
    """No host answers meanwhile. As soon as the director goes on, it serves, without any action of agent, kubelet or administrator."""
    agents = web.agents()
    began, thawed = freeze(web, "d")
    load.wait_answers(len(load.so_far().answers) + 50, 30)
    web.reweigh("r1", 2, 30)
    outcome = load.stop()
    during, after = since(outcome, began + 0.5), since(outcome, thawed)
    assert len(during.errors) >= 2, "it was not frozen"
    assert after.errors == [], after
    assert judges.devices_with(web["d"], VIP) == ["eth0", "lo"]
    assert web.agents() == agents
    print(f"\nfirst answer {after.rows[0]['end'] - thawed:.2f} s after the thaw")


def test_a_real_server_freezes(web):
    """Its share of requests hangs until it goes on, or the director gets no ARP answer from it; the other real server answers its own."""
    agents = web.agents()
    several = [clients.load(web.host, VIP, interval=0.02) for _ in range(4)]
    for one in several:
        one.wait_answers(20)
    began, thawed = freeze(web, "r1")
    for one in several:
        one.wait_answers(len(one.so_far().answers) + 20, 30)
    outcome = clients.Outcome([row for one in several for row in one.stop().rows])
    during = clients.Outcome([row for row in outcome.rows if began <= row["start"] and row["end"] < thawed])
    # The clients may have read an answer of r1 a moment after it stopped.
    assert during.counts["r2"] >= len(several) >= during.counts["r1"], during
    assert during.errors and all("TimeoutError" in error for error in during.errors), during
    assert since(outcome, thawed).errors == []
    wait_until(lambda: web.weights() == {"r1": 1, "r2": 1}, "both real servers", 30)
    wait_until(lambda: clients.requests(web.host, VIP, n=20).counts == {"r1": 10, "r2": 10}, "their shares", 10)
    assert web.agents() == agents
    print(f"\nwhile one of two real servers was frozen: {during}")


def test_a_node_is_deleted_from_the_api(web, load):
    """Its kernel runs on, but the director must send it no new connections, and its NodeState goes with the Node."""
    web.kubectl("delete node r2 --wait=false")
    wait_until(lambda: web.weights().get("r2", 0) == 0, "no new connection to the deleted node", 30)
    names = lambda: {one["metadata"]["name"] for one in web.api.get(STATES)["items"]}  # noqa: E731
    wait_until(lambda: "r2" not in names(), "the NodeState to go", 90, every=0.5)
    assert lost(load) == []
    # A kubelet registers its node when it starts; the administrator must label it again.
    web["r2"].kubelet.stop()
    web["r2"].start_kubelet()
    wait_until(lambda: ground.ready(web.lab).get("r2"), "the node to be back", 60)
    web.label("r2", "directway.dev/backend")
    wait_until(lambda: web.weights() == {"r1": 1, "r2": 1}, "both real servers", 120)

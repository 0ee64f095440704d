"""Helm's hooks with real pods: helm test proves VIPs, helm uninstall undoes every node that can be reached."""

import re

import pytest
from ground import assets, clients, cluster as ground
from ground.wait import wait_until
from cluster_site import CHART, NODES, RELEASE, SPACE, traces
from objects import VIP

pytestmark = pytest.mark.core


def test_helm_test_proves_vips_from_the_pod_network(web):
    """The pod prefers the node that is neither director nor real server."""
    code, told = web.hooked(f"test {RELEASE} --timeout 60s")
    assert code == 0, told
    assert f"PASS  {VIP}:80/TCP  default/web  10 of 10 connections" in told, told


@pytest.mark.parametrize("node, why", [("r1", "carries the VIP itself"), ("d", "holds the VIP itself")])
def test_helm_test_says_where_it_shows_nothing(web, node, why):
    others = " ".join(set(NODES) - {node})
    web.kubectl(f"cordon {others}")
    try:
        code, told = web.hooked(f"test {RELEASE} --timeout 60s")
    finally:
        web.kubectl(f"uncordon {others}")
    assert code == 0 and f"node {node} {why}" in told and "PASS" not in told, told


# Three nodes have work; the fourth may have had some in an earlier scenario.
DONE = re.compile("^done: [34] nodes, and nothing of directway's is left on them", re.MULTILINE)


def undone(site, *nodes: str) -> dict[str, str]:
    return {name: traces(site[name]) for name in nodes or NODES if traces(site[name])}


# An address for this file's client alone: IPVS remembers ports for two minutes, and would send a used one to the same real server.
CLIENT = "10.77.0.251"


def test_a_release_with_work_is_undone_and_goes(web):
    web.host.sh(f"ip addr add {CLIENT}/24 dev lan")
    load = clients.load(web.host, VIP, interval=0.02, sources=(CLIENT,))
    load.wait_answers(20)
    code, told = web.try_uninstall()
    load.stop()
    web.host.sh(f"ip addr del {CLIENT}/24 dev lan")
    assert code == 0 and DONE.search(told), told
    # Helm has just returned, and the agents' pods may still be there.
    assert undone(web) == {}
    wait_until(lambda: not web.pods("agent") and not web.pods("controller"), "all pods to be gone", 60)
    assert undone(web) == {}
    assert web.kubectl("get dvs -o name") == "virtualservice.directway.dev/web\n"
    for kind in ("jobs", "configmaps", "serviceaccounts", "roles", "rolebindings"):
        left = web.kubectl(f"--namespace {SPACE} get {kind} -l app.kubernetes.io/part-of=directway -o name")
        assert left == "", left


def test_installed_again_it_serves_what_is_left(cluster):
    cluster.install().serve()
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}


def test_a_director_without_power_stops_the_uninstalling_and_holds_up_nobody(web):
    web.helm(f"upgrade {RELEASE} {CHART} --wait", {"undo": {"timeoutSeconds": 40}})
    web["d"].power_off()
    wait_until(lambda: not ground.ready(web.lab)["d"], "Kubernetes to notice", 90, every=1)
    code, told = web.try_uninstall()
    assert code != 0 and re.search("^.*1 of [34] nodes not undone after 40 s", told, re.MULTILINE), told
    assert "d: its agent has not answered, and the node is not ready (NodeStatusUnknown)" in told, told
    assert "directway cleanup" in told and "--no-hooks" in told
    assert undone(web, "r1", "r2", "other") == {}
    assert web.pods("agent"), "nothing may be deleted"

    # The node comes back, its agent follows the request, and the second attempt succeeds.
    web["d"].start()
    web["d"].wait_ready()
    ground.wait_ready(web.lab)
    code, told = web.try_uninstall()
    assert code == 0 and DONE.search(told), told
    assert undone(web) == {}
    web.install().serve()
    assert clients.requests(web.host, VIP, n=20).counts == {"r1": 10, "r2": 10}


def test_what_a_release_left_behind_is_cleaned_up_by_hand(web):
    """With the commands of docs/upgrade.md, on nodes without the binary."""
    web.uninstall("--no-hooks")
    wait_until(lambda: not web.pods("agent"), "the agents to be gone", 60)
    assert set(undone(web)) == {"d", "r1", "r2"}, "the nodes go on serving"
    image = f"docker.io/library/directway:{assets.version()}"
    for node in ("d", "r1", "r2"):
        web.kubectl(
            f"--namespace {SPACE} debug node/{node} --profile=sysadmin --image={image}"
            " -- /directway cleanup --run-dir /host/run/directway"
        )
    wait_until(lambda: undone(web) == {}, "nothing to be left", 30)
    web.kubectl(f"--namespace {SPACE} delete pods --all --wait=false")
    web.install().serve()

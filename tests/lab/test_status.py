"""kubectl shows what the kernels do; traffic does not depend on the controller."""

import json
import time

import pytest
from ground import clients, judges
from ground.capture import Capture
from ground.wait import wait_until
from support import VIP, virtual_service


def columns(cluster, wide: bool = False) -> list[dict[str, str]]:
    """Rows of `kubectl get dvs` by column title; columns are apart by at least three spaces."""
    lines = cluster.api.kubectl("get dvs" + (" -o wide" if wide else "")).splitlines()
    starts = [i for i in range(len(lines[0])) if lines[0][i] != " " and (i == 0 or lines[0][max(0, i - 3) : i] == "   ")]
    cut = [slice(a, b) for a, b in zip(starts, [*starts[1:], None])]
    return [{lines[0][s].strip(): line[s].strip() for s in cut} for line in lines[1:]]


@pytest.mark.vm
def test_the_columns_of_kubectl_get_dvs(cluster):
    cluster.assign_roles().serve(scheduler="wrr")
    # It is ready with the first of its real servers.
    wait_until(lambda: cluster.get()["status"]["realServers"]["ready"] == 2, "both real servers to be counted")
    cluster.wait_condition("Ready", "True")
    row = columns(cluster)[0]
    age = row.pop("AGE")
    assert row == {
        "NAME": "web", "VIP": VIP, "PORTS": "80/TCP", "SCHEDULER": "wrr", "HOLDER": "d", "REAL SERVERS": "2/2", "READY": "True",
    }
    assert age.endswith("s")
    assert columns(cluster, wide=True)[0].keys() > row.keys()


@pytest.mark.vm
def test_conditions_follow_what_happens(cluster):
    cluster.assign_roles()
    service = cluster.serve()
    status = lambda: cluster.get()["status"]
    for kind in ("Accepted", "Programmed", "Ready"):
        cluster.wait_condition(kind, "True")
    assert status()["holders"] == [{"vip": VIP, "node": "d"}] and status()["vips"] == [VIP]
    wait_until(lambda: status()["realServers"] == {"ready": 2, "total": 2}, "both real servers to be counted")
    assert status()["directors"] == {"ready": 1, "total": 1}

    cluster.label("r2", {})
    wait_until(lambda: status()["realServers"] == {"ready": 1, "total": 1}, "one real server in the status")
    cluster.label("r1", {})
    cluster.wait_condition("Ready", "False", "NoRealServers")
    cluster.label("d", {})
    cluster.wait_condition("Ready", "False")
    wait_until(lambda: "holders" not in status(), "nobody to be named as holder")
    cluster.label("d", {"directway.dev/director": "true"})
    for name in ("r1", "r2"):
        cluster.label(name, {"directway.dev/backend": "true"})
    cluster.wait_serving(service)
    cluster.wait_condition("Ready", "True")


def test_of_a_director_whose_agent_is_gone_nothing_is_known(cluster):
    """Nobody takes weight from a real server that dies meanwhile, so it must not be said that all is well."""
    cluster.assign_roles()
    cluster.serve()
    cluster.wait_condition("Ready", "True")
    cluster.lab["d"].agent.kill()
    cluster.lab["r2"].power_off()
    message = cluster.wait_condition("Ready", "Unknown", "ReportStale", timeout=100)
    assert "d held" in message and "its agent is silent" in message
    assert "ReportStale" in cluster.lab["r1"].directway("status").out
    cluster.start("d")
    cluster.wait_condition("Ready", "True", "Degraded", timeout=60)
    cluster.site.discard("r2")
    cluster.site.up("r2")
    cluster.start("r2")


def test_ready_is_not_told_before_requests_pass(cluster):
    cluster.assign_roles()
    cluster.start()
    for turn in range(5):
        cluster.apply(virtual_service())
        cluster.wait_condition("Ready", "True")
        outcome = clients.requests(cluster.host, VIP, n=4)
        assert outcome.errors == [] and outcome.counts == {"r1": 2, "r2": 2}, f"round {turn}: {outcome}"
        cluster.delete()
        cluster.wait_untouched()


def test_a_real_server_without_power(cluster):
    """The director gets no ARP answer from it: it loses its weight and is not counted as ready, until it is back."""
    cluster.assign_roles(real_servers=("r1", "r3"))
    service = cluster.serve()
    cluster.lab["r3"].power_off()
    cluster.wait_weights(service, {"r1": 1, "r3": 0}, timeout=40)
    wait_until(lambda: cluster.get()["status"]["realServers"] == {"ready": 1, "total": 2}, "the count", 20)
    assert clients.requests(cluster.host, VIP, n=10).counts == {"r1": 10}
    # The check of the direct path finds it first.
    wait_until(lambda: "Unreachable" in cluster.lab["d"].directway("status").out, "the status to say that nobody answers ARP", 20)
    cluster.site.discard("r3")
    cluster.site.up("r3")
    cluster.start("r3")
    cluster.wait_serving(service, timeout=40)
    assert clients.requests(cluster.host, VIP, n=10).counts == {"r1": 5, "r3": 5}


@pytest.mark.vm
def test_the_controller_comes_and_goes_without_touching_traffic(cluster):
    service = cluster.assign_roles().serve()
    cluster.wait_condition("Ready", "True")
    before = judges.snapshot(cluster.lab["d"])
    load = clients.load(cluster.host, VIP, interval=0.005)
    try:
        cluster.lab.controller.kill()
        load.wait_answers(len(load.so_far().answers) + 100)
        assert judges.snapshot(cluster.lab["d"]) == before
        cluster.set_weight("r1", 2)
        cluster.wait_weights(service, {"r1": 2, "r2": 1}), "agents need no controller"
    finally:
        cluster.lab.start_controller()
    cluster.apply(virtual_service(scheduler="wrr"))
    cluster.wait_condition("Ready", "True", timeout=40)
    assert cluster.lab.controller.stop() == 0, "SIGTERM ends it in order"
    cluster.lab.start_controller()
    assert load.stop().errors == []


def test_nodestates_speak_of_their_own_node(cluster):
    cluster.assign_roles().serve()
    cluster.wait_condition("Ready", "True")
    for name in ("d", "r1", "r2"):
        state = cluster.api.get(f"/apis/directway.dev/v1alpha1/nodestates/{name}")
        assert VIP in json.dumps(state), name
        owners = state["metadata"].get("ownerReferences", [])
        assert [(o["kind"], o["name"]) for o in owners] == [("Node", name)]


def settled(version):
    """What `version` returns when it has been the same for longer than an agent waits between two reports."""
    seen, since = None, time.monotonic()

    def same():
        nonlocal seen, since
        if (now := version()) != seen:
            seen, since = now, time.monotonic()
        return seen if time.monotonic() - since > 1.5 else None

    return wait_until(same, "reports and status to be written", 30)


def test_an_idle_cluster_writes_nothing(cluster):
    cluster.assign_roles().serve()
    cluster.wait_condition("Ready", "True")
    wait_until(lambda: cluster.get()["status"]["realServers"]["ready"] == 2, "both real servers to be counted")
    version = lambda: {
        **{n: cluster.api.get(f"/apis/directway.dev/v1alpha1/nodestates/{n}")["metadata"]["resourceVersion"] for n in ("d", "r1", "r2")},
        "web": cluster.get()["metadata"]["resourceVersion"],
    }
    seen = settled(version)
    ops = lambda: {k: v for k, v in cluster.lab["d"].agent.metrics().items() if k.startswith("directway_ops_total") and "announce" not in k}
    before = ops()
    # Two seconds of other traffic are the time in which nothing may change.
    with Capture(cluster.host, "lan", "arp"):
        load = clients.load(cluster.host, VIP, interval=0.02)
        load.wait_answers(100)
        assert load.stop().errors == []
    assert version() == seen
    assert ops() == before

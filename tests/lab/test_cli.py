"""The command line on real kernels and a real API server: what `plan` prints is what the agents do."""

import json

import pytest
from ground import judges
from ground.wait import wait_until
from support import VIP, virtual_service

NODES = ("d", "r1", "r2")


def directway(cluster, *args: str):
    """Runs the binary on this machine, as a user with a kubeconfig would."""
    return cluster.host.call([cluster.lab.directway(), *args, "--kubeconfig", cluster.api.config], timeout=30)


def plan(cluster, service: dict, *args: str) -> tuple[int, dict]:
    """Exit status and document of `directway plan -f`."""
    path = cluster.lab.dir / f"{service['metadata']['name']}.json"
    path.write_text(json.dumps(service))
    result = directway(cluster, "plan", "-f", str(path), "-o", "json", *args)
    assert result.out, result
    return result.rc, json.loads(result.out)


def type_lines(cluster, document: dict) -> None:
    """Runs a plan's lines on the nodes, step by step, as a user could do instead of the agents."""
    lines = [(op["round"], node["node"], op["line"]) for node in document["nodes"] for op in node["ops"]]
    for _, node, line in sorted(lines, key=lambda one: one[0]):
        # Debian 12's ip (6.1) cannot tag addresses yet, nor print the tag.
        cluster.lab[node].sh(line.removesuffix(" proto 215") if line.startswith("ip addr") else line)


def snapshots(cluster) -> dict:
    return {name: judges.snapshot(cluster.lab[name]) for name in NODES}


@pytest.mark.vm
def test_a_plan_typed_by_hand_is_what_the_agents_do(cluster):
    cluster.assign_roles()
    cluster.set_weight("r2", 3)
    # An agent that has seen another director lately, in an earlier scenario, gives its VIPs a lifetime; a plan knows the present only.
    cluster.stop()
    cluster.start()
    # Not a dummy device, because each new one has another MAC address.
    service = virtual_service(scheduler="wrr", real_servers={"hostRoute": True})
    wait_until(lambda: cluster.api.kubectl("get nodestates -o name").count("nodestate") >= 3, "every agent's report")
    status, to_apply = plan(cluster, service)
    assert (status, to_apply["refusals"]) == (0, []), to_apply

    cluster.serve(service)
    by_agents = snapshots(cluster)
    nothing = lambda: [op for node in plan(cluster, service)[1]["nodes"] for op in node["ops"]] == []
    wait_until(nothing, "the plan for what is applied to be empty")
    _, to_delete = plan(cluster, service, "--delete")

    cluster.stop()
    type_lines(cluster, to_delete)
    cluster.wait_untouched()
    type_lines(cluster, to_apply)
    by_hand = snapshots(cluster)
    for name in NODES:
        assert not judges.difference(by_agents[name], by_hand[name]), name
    type_lines(cluster, to_delete)


def test_a_plan_says_what_would_be_refused(cluster):
    cluster.assign_roles().serve()
    cluster.wait_condition("Ready", "True")
    status, document = plan(cluster, virtual_service("late"))
    assert status == 2
    (refused,) = document["refusals"]
    assert refused["reason"] == "PortClaimed" and "default/web" in refused["message"]
    assert not any(node["ops"] for node in document["nodes"]), document

    status, document = plan(cluster, virtual_service("far", "10.99.0.100"))
    assert status == 2
    assert {(one["node"], one["reason"]) for one in document["refusals"]} == {("d", "NoInterface")}, document

    service = virtual_service("wrong")
    service["spec"]["ports"][0]["port"] = 70000
    status, document = plan(cluster, service)
    assert status == 2 and document["refusals"][0]["reason"] == "InvalidSpec"


@pytest.mark.vm
def test_a_served_node_has_nothing_to_do_here_and_elsewhere(fleet):
    fleet.assign_roles().serve()
    source = ["--source", "kubernetes" if fleet.source == "kubernetes" else "dir:/run/manifests"]
    for name in NODES:
        node = fleet.lab[name]
        empty = lambda: node.directway("plan", "--node", name, *source).out.startswith("nothing to do")
        wait_until(empty, f"the plan of {name} to be empty")
        node.write("/run/observed.json", node.directway("observe", "-o", "json").out)
        result = node.directway("plan", "--node", name, *source, "--observed", "/run/observed.json")
        assert result.out.startswith("nothing to do"), result
    director = fleet.lab["d"].directway("observe").out
    held = [line.split() for line in director.splitlines() if VIP in line and "answers" in line]
    assert [(words[1], words[3]) for words in held] == [("eth0", "ours")], director


@pytest.mark.vm
def test_cleanup_waits_for_the_agent_to_be_gone_and_can_be_repeated(fleet):
    fleet.assign_roles().serve()
    node = fleet.lab["d"]
    refused = node.directway("cleanup")
    assert refused.rc == 1 and "--force" in refused.err and judges.weights(node, f"{VIP}:80"), refused
    planned = node.directway("cleanup", "--dry-run").out
    assert f"ipvsadm -D -t {VIP}:80" in planned and judges.weights(node, f"{VIP}:80")
    fleet.stop()
    for name in NODES:
        result = fleet.lab[name].directway("cleanup")
        assert result.ok and (name != "d" or result.out == planned), result
        again = fleet.lab[name].directway("cleanup")
        assert again.ok and again.out.startswith("nothing of directway's"), again
        assert not fleet.lab[name].ok("ls -d /run/directway"), "the run directory is left"
    fleet.wait_untouched()


def test_check_passes_here_and_names_what_is_wrong(cluster):
    cluster.assign_roles()
    node = cluster.lab["d"]

    def levels(*args: str) -> dict[str, str]:
        result = node.directway("check", "--vip", VIP, "-o", "json", *args)
        found = json.loads(result.out)
        assert result.rc == (1 if any(one["level"] == "FAIL" for one in found) else 0)
        return {one["check"]: one["level"] for one in found}

    good = levels()
    assert "FAIL" not in good.values() and good["ipvs"] == good["interface"] == good["holder"] == "PASS", good
    node.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=3")
    assert levels()["arp"] == "FAIL"
    node.sh("sysctl -qw net.ipv4.conf.all.arp_ignore=0")
    cluster.lab["r1"].sh(f"ip addr add {VIP}/32 dev eth0")
    assert levels()["holder"] == "WARN"
    cluster.lab["r1"].sh(f"ip addr del {VIP}/32 dev eth0")


def test_status_names_who_serves(fleet):
    fleet.assign_roles().serve()
    source = [] if fleet.source == "kubernetes" else ["--source", "dir:/run/manifests"]

    def told() -> bool:
        rows = fleet.lab["d"].directway("status", *source).out.splitlines()
        assert rows[1].split() == ["default/web", VIP, "80/TCP", "d", "-", "2/2", "True"], rows
        return True

    wait_until(told, "the status to be Ready")

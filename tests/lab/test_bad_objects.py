"""Objects that cannot be served: each is refused with its reason, and all others go on."""

import json

import pytest
from ground import clients, judges
from ground.place import CommandFailed
from ground.wait import wait_until
from support import VIP, virtual_service
from support.directors import more

GOOD = "10.77.0.101"


@pytest.fixture
def serving(cluster):
    """A cluster that serves the good VirtualService; it must still do so, and take changes, at the end."""
    cluster.assign_roles()
    good = cluster.serve(virtual_service("good", GOOD))
    yield cluster
    cluster.set_weight("r1", 3)
    cluster.wait_serving(good)
    assert clients.requests(cluster.host, GOOD, n=20).errors == []
    cluster.wait_condition("Ready", "True", name="good")


@pytest.mark.parametrize(
    "change, field",
    [
        ({"vips": ["224.0.0.1"]}, "224.0.0.1"),
        ({"vips": ["not-an-address"]}, "not-an-address"),
        ({"ports": [{"port": 0, "protocol": "TCP"}]}, "port"),
        ({"ports": [{"port": 80, "protocol": "ICMP"}]}, "ICMP"),
        ({"scheduler": {"name": "rr", "flags": ["mh-port"]}}, "mh-port"),
        ({"scheduler": {"name": "best"}}, "best"),
        ({"realServers": {}}, "realServers"),
        ({"realServers": {"nodeSelector": {}, "weight": 65536}}, "weight"),
        ({"realServers": {"nodeSelector": {}, "vipDevice": "a/b"}}, "a/b"),
        ({"persistence": {"timeoutSeconds": 300, "ipv4PrefixLength": 33}}, "ipv4PrefixLength"),
    ],
)
def test_the_api_server_refuses(cluster, change, field):
    service = virtual_service()
    service["spec"].update(change)
    with pytest.raises(CommandFailed, match=field):
        cluster.api.apply(service)


@pytest.mark.parametrize("place, field", [("spec", "sheduler"), ("realServers", "port")])
def test_unknown_fields_are_refused_by_kubectl(cluster, place, field):
    service = virtual_service()
    (service["spec"] if place == "spec" else service["spec"]["realServers"])[field] = 8080
    with pytest.raises(CommandFailed, match=f'spec.*unknown field "{field}"|unknown field "spec.*{field}"'):
        cluster.api.apply(service)


@pytest.mark.vm
def test_the_older_wins_and_the_other_learns_who_did(serving):
    younger = virtual_service("younger", GOOD)
    serving.apply(younger)
    message = serving.wait_condition("Accepted", "False", "PortClaimed", name="younger")
    assert "default/good" in message
    serving.wait_condition("Ready", "False", name="younger")
    events = serving.api.kubectl("get events --field-selector involvedObject.name=younger -o json")
    assert any(e["reason"] == "PortClaimed" and "default/good" in e.get("message", e.get("note", "")) for e in json.loads(events)["items"])


def test_an_edit_that_is_refused_takes_nothing_with_it(cluster):
    """The younger of two objects on a VIP is edited into one conflict after the other, under load."""
    cluster.assign_roles()
    cluster.start()
    cluster.apply(virtual_service("older", VIP, 443))
    cluster.serve()
    with clients.steady(cluster.host, VIP) as load:
        for spec, reason in (
            ({"vips": [VIP, "fd00:77::100"]}, "IPv6NotServed"),
            ({"ports": [{"port": port, "protocol": "TCP"} for port in (80, 443)]}, "PortClaimed"),
            ({"directors": {"interface": "eth1"}}, "VIPShapeDiffers"),
        ):
            cluster.apply(virtual_service(**spec))
            message = cluster.wait_condition("Accepted", "False", reason)
            assert message.endswith("everything else is served"), message
            cluster.wait_condition("Ready", "True")
            more(load)
        cluster.apply(virtual_service())
        cluster.wait_condition("Accepted", "True")
        outcome = load.stop()
    assert outcome.errors == [], outcome


def test_when_the_older_goes_the_younger_gets_its_turn(cluster):
    cluster.assign_roles()
    cluster.serve(virtual_service("older", scheduler="rr"))
    younger = virtual_service("younger", scheduler="wrr")
    cluster.apply(younger)
    cluster.wait_condition("Accepted", "False", "PortClaimed", name="younger")
    cluster.delete("older")
    cluster.wait_condition("Ready", "True", name="younger")
    assert judges.services(cluster.lab["d"])[f"{VIP}:80"].scheduler == "wrr"
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}


@pytest.mark.vm
def test_a_vip_that_is_a_nodes_own_address(serving):
    serving.apply(virtual_service(vip=serving.site.address("r1")))
    message = serving.wait_condition("Accepted", "False", "VIPIsNodeAddress")
    assert serving.site.address("r1") in message and "r1" in message
    assert judges.services(serving.lab["d"]).keys() == {f"{GOOD}:80"}


def test_a_vip_that_a_node_has_without_telling(serving):
    """The address is in no Node object, only on the node itself."""
    node = serving.lab["r1"]
    node.sh("ip addr add 10.77.0.140/24 dev eth0")
    try:
        serving.apply(virtual_service(vip="10.77.0.140"))
        message = serving.wait_condition("Accepted", "False", "VIPIsNodeAddress")
        assert "10.77.0.140" in message and "node r1" in message
        bound_nowhere(serving, "10.77.0.140", but="r1")
    finally:
        node.sh("ip addr del 10.77.0.140/24 dev eth0")


def bound_nowhere(cluster, vip: str, but: str | None = None) -> None:
    """No node has the VIP, and all agents go on hearing of changes."""
    cluster.set_weight("r1", 2)
    wait_until(lambda: judges.weights(cluster.lab["d"], f"{GOOD}:80")[cluster.site.address("r1")] == 2, "the weight")
    for name in cluster.assigned:
        assert name == but or judges.devices_with(cluster.lab[name], vip) == [], name


def test_an_address_that_a_node_needs_is_bound_nowhere(serving):
    """Only r1 has routes through the router, which is off; all nodes reach the API server at the lab's own address."""
    router, r1 = "10.77.0.99", serving.lab["r1"]
    r1.sh(f"ip route add 198.51.100.0/24 via {router} table 77")
    state = lambda: serving.api.get("/apis/directway.dev/v1alpha1/nodestates/r1")["status"]
    try:
        # A director that claims the VIP before it can know goes on serving it.
        wait_until(lambda: router in str(state()["reserved"]), "r1 to report the router")
        for vip, word in ((router, "router"), (serving.lab.address(), "API server"), ("10.77.0.255", "broadcast")):
            serving.apply(virtual_service(vip=vip))
            message = serving.wait_condition("Accepted", "False", "VIPReserved")
            assert vip in message and word in message and "node " in message, message
            bound_nowhere(serving, vip)
    finally:
        r1.sh("ip route flush table 77")


@pytest.mark.vm
def test_no_nic_for_the_vip(serving):
    serving.apply(virtual_service(vip="10.200.0.5"))
    message = serving.wait_condition("Programmed", "False", "NoInterface")
    assert "10.200.0.5" in message and "spec.directors.interface" in message
    serving.wait_condition("Ready", "False")
    bound_nowhere(serving, "10.200.0.5")


def test_an_interface_that_is_not_there(serving):
    serving.apply(virtual_service(directors={"interface": "eth9"}))
    assert "eth9" in serving.wait_condition("Programmed", "False", "NoInterface")


def test_nobody_selected(serving):
    nobody = {"nodeSelector": {"matchLabels": {"no": "such"}}}
    serving.apply(virtual_service("idle", "10.77.0.120", real_servers=nobody))
    serving.apply(virtual_service("headless", "10.77.0.121", directors=nobody))
    serving.wait_condition("Ready", "False", "NoRealServers", name="idle")
    serving.wait_condition("Ready", "False", "NoDirector", name="headless")


def test_a_bad_weight_annotation(serving):
    serving.annotations["r2"] = {"directway.dev/weight": "heavy"}
    serving._write_node("r2")
    wait_until(lambda: serving.weights(serving.services["good"]).get("r2", 0) == 0, "r2 to lose its weight")

    def told() -> bool:
        # Nodes report once a second at most.
        report = serving.lab["d"].directway("status").out
        assert "InvalidWeightAnnotation" in report and "heavy" in report, report
        return True

    wait_until(told, "the status to name the annotation", 10)
    serving.annotations["r2"] = {}
    serving._write_node("r2")


@pytest.mark.vm
def test_an_object_that_bypassed_validation(serving):
    """Written while the CRD had no schema, as by an older version of it or straight into etcd."""
    loose = json.loads(serving.api.kubectl("get crd virtualservices.directway.dev -o json"))
    for version in loose["spec"]["versions"]:
        version["schema"] = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/virtualservices.directway.dev"
    strict = serving.api.get(path)["spec"]
    serving.api.request("PATCH", path, {"spec": {"versions": loose["spec"]["versions"]}}, "application/merge-patch+json")
    bad = {
        "outofrange": {"ports": [{"port": 99999, "protocol": "TCP"}]},
        "wrongtype": {"vips": "10.77.0.130", "ports": "all"},
        "nospec": None,
    }
    try:
        def write(name: str, change: dict | None) -> bool:
            service = virtual_service(name, "10.77.0.130")
            service["spec"] = {**service["spec"], **change} if change is not None else 7
            serving.services[name] = service
            serving.api.kubectl("create --validate=false -f -", json.dumps(service))
            return True

        for name, change in bad.items():
            # The API server takes the new schema up a moment after the CRD was changed.
            wait_until(lambda: write(name, change), f"{name} to pass", every=0.3)
    finally:
        serving.api.request("PATCH", path, {"spec": {"versions": strict["versions"]}}, "application/merge-patch+json")
    message = serving.wait_condition("Accepted", "False", "InvalidSpec", name="outofrange")
    assert "99999" in message and "port" in message
    for name in ("wrongtype", "nospec"):
        refused(serving, name)


def refused(cluster, name):
    """Waits until the log of agent or controller names the object and the reason; the API server accepts no status for such objects."""
    def told() -> bool:
        log = cluster.lab["d"].agent.log() + cluster.lab.controller.text()
        return any(name in line and "InvalidSpec" in line for line in log.splitlines())

    wait_until(told, f"somebody to say why {name} is not served")

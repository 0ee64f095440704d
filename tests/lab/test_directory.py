"""Manifests in a directory: broken ones are named in the log, and all others go on."""

import json

import pytest
from ground import clients, judges
from ground.agent import manifest
from ground.wait import wait_until
from support import VIP, virtual_service

GOOD = "10.77.0.101"
NODES = ("d", "r1", "r2")


@pytest.fixture
def serving(hosts):
    """Serves the good VirtualService; it must still do so, and take changes, at the end."""
    hosts.assign_roles()
    good = hosts.serve(virtual_service("good", GOOD))
    yield hosts
    for name in NODES:
        hosts.lab[name].remove_manifest("bad.yaml")
    hosts.set_weight("r1", 3)
    hosts.wait_serving(good)
    assert clients.requests(hosts.host, GOOD, n=20).errors == []


def put(fleet, file: str, text: str) -> None:
    for name in NODES:
        fleet.lab[name].put_manifest(file, text)


def wait_said(fleet, *words: str) -> str:
    def line() -> str | None:
        lines = fleet.lab["d"].agent.log().splitlines()
        return next((one for one in lines if all(word in one for word in words)), None)

    return wait_until(line, f"a line of the log with {words}")


@pytest.mark.parametrize(
    "text, words",
    [
        ("apiVersion: directway.dev/v1alpha1\nkind: [", ()),
        ("\x00\x01binary\xff", ()),
        ("just: a map\n", ()),
        (manifest({"apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService", "metadata": {"name": "bad"}, "spec": 7}), ()),
    ],
    ids=["half a line", "binary", "no object", "no spec"],
)
def test_a_file_that_is_no_manifest(serving, text, words):
    put(serving, "bad.yaml", text)
    wait_said(serving, "bad.yaml", *words)


def test_the_good_objects_of_a_file_with_a_bad_one(serving):
    bad, other = virtual_service("bad", "300.1.1.1"), virtual_service("other", "10.77.0.102")
    put(serving, "bad.yaml", manifest(bad, other))
    wait_said(serving, "300.1.1.1")
    serving.wait_serving(other)


def test_unknown_fields(serving):
    bad = virtual_service("bad")
    bad["spec"]["sheduler"] = {"name": "rr"}
    put(serving, "bad.yaml", manifest(bad))
    wait_said(serving, "sheduler")
    assert judges.services(serving.lab["d"]).keys() == {f"{GOOD}:80"}


def test_two_files_claim_the_same(serving):
    put(serving, "bad.yaml", manifest(virtual_service("zz", GOOD, scheduler="wlc")))
    wait_said(serving, "PortClaimed", "default/good")
    assert judges.services(serving.lab["d"])[f"{GOOD}:80"].scheduler == "rr"


@pytest.mark.vm
def test_a_file_that_breaks_takes_nothing_away(serving):
    """An editor that writes in place, or a copy that stopped halfway, must not end the service."""
    service = virtual_service("web", VIP)
    serving.apply(service)
    serving.wait_serving(service)
    whole = manifest(service)
    before = judges.snapshot(serving.lab["d"])
    load = clients.load(serving.host, VIP, interval=0.01)
    load.wait_answers(20)
    put(serving, "web.yaml", whole[: len(whole) // 2])
    wait_said(serving, "web.yaml")
    seen = len(load.so_far().answers)
    load.wait_answers(seen + 100)
    assert judges.snapshot(serving.lab["d"]) == before
    put(serving, "web.yaml", manifest({**service, "spec": {**service["spec"], "scheduler": {"name": "wrr"}}}))
    wait_until(lambda: judges.services(serving.lab["d"])[f"{VIP}:80"].scheduler == "wrr", "the mended file")
    assert load.stop().errors == []


def test_it_starts_on_a_broken_directory(serving):
    """A partial view never deletes, because the agent does not know what the broken file contained before."""
    service = virtual_service("web", VIP)
    serving.apply(service)
    serving.wait_serving(service)
    serving.stop("d")
    serving.lab["d"].put_manifest("web.yaml", "kind: [")
    serving.start("d", wait=False)
    wait_said(serving, "web.yaml")
    serving.set_weight("r2", 2)
    serving.wait_weights(serving.services["good"], {"r1": 1, "r2": 2})
    assert f"{VIP}:80" in judges.services(serving.lab["d"]) and serving.holds(service)
    serving._write_service(service)


def test_a_directory_that_appears_later(hosts):
    hosts.assign_roles()
    hosts.stop()
    for name in NODES:
        hosts.lab[name].sh("rm -rf /run/manifests")
    agent = hosts.lab["d"].start_agent("dir:/run/manifests")
    wait_until(lambda: "/run/manifests" in agent.log(), "its log to name the directory")
    service = hosts.serve()
    assert clients.requests(hosts.host, VIP, n=10).errors == []
    assert json.loads(hosts.lab["d"].read("/run/directway/ledger.json"))["services"], service


@pytest.fixture
def unmounted(serving):
    """The directory of every node is a mount, and then it is gone: an empty mount point is in its place."""
    service = virtual_service("web", VIP)
    serving.apply(service)
    serving.wait_serving(service)
    before = {name: judges.snapshot(serving.lab[name]) for name in NODES}
    with clients.steady(serving.host, VIP) as load:
        load.wait_answers(50)
        for name in NODES:
            serving.lab[name].sh("mount -t tmpfs tmpfs /run/manifests")
        yield serving, load
        load.wait_answers(len(load.so_far().answers) + 200)
        assert {name: judges.snapshot(serving.lab[name]) for name in NODES} == before, "nothing is withdrawn"
        for name in NODES:
            serving.lab[name].sh("umount /run/manifests")
        serving.set_weight("r2", 2)
        serving.wait_weights(service, {"r1": 1, "r2": 2})
        outcome = load.stop()
    assert outcome.errors == [], outcome


def test_a_directory_that_is_unmounted_takes_nothing_away(unmounted):
    hosts, _ = unmounted
    wait_said(hosts, "/run/manifests", "unmounted")
    agent = hosts.lab["d"].agent
    said = lambda: "unmounted" in json.dumps(json.loads(agent.get("/state"))["status"].get("preflight", []))
    wait_until(said, "the agent's report to say so")
    agent.get("/readyz")


def test_agents_that_start_on_an_unmounted_directory_take_nothing_away(unmounted):
    hosts, load = unmounted
    hosts.stop()
    before = {name: len(hosts.lab[name].agent.log()) for name in NODES}
    for name in NODES:
        # hosts.start() would write the manifests.
        hosts.lab[name].start_agent(hosts.source)
    for name in NODES:
        agent = hosts.lab[name].agent
        wait_until(lambda: "no manifests" in agent.log()[before[name]:], f"the log of {name} to say what is missing", 40)
    load.wait_answers(len(load.so_far().answers) + 500)


def test_a_directory_that_is_emptied_withdraws_everything(serving):
    """Who deletes the files means it; the fixture puts them back."""
    for name in NODES:
        serving.lab[name].sh("mkdir /run/kept; mv /run/manifests/*.yaml /run/kept")
    wait_until(lambda: not any(judges.devices_with(serving.lab[name], GOOD) for name in NODES), "the VIP to be gone", 40)
    for name in NODES:
        serving.lab[name].sh("mv /run/kept/*.yaml /run/manifests; rmdir /run/kept")

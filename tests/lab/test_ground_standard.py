"""The standard lab, and that scenarios do not disturb each other in it."""

import json

import pytest
from ground import clients, judges, web
from ground.pristine import Pristine


def test_standard_nodes_and_labels(lab):
    nodes = json.loads(lab.kubectl("get nodes -l directway.dev/backend -o json"))["items"]
    assert [n["metadata"]["name"] for n in nodes] == ["r1", "r2", "r3"]
    assert nodes[0]["status"]["addresses"][0] == {"type": "InternalIP", "address": lab["r1"].ip}


def test_traces_are_told_and_undone(lab):
    pristine = Pristine(lab)
    web.start(lab["r1"])
    lab["d"].sh("ip addr add 10.77.0.100/32 dev lo")
    lab.add_host("stranger")
    lab.kubectl("label node r1 extra=1")
    lab["r3"].cut()
    lab["r2"].power_off()
    left = pristine.restore()
    assert left.startswith("d:\nip addr: +     inet 10.77.0.100/32 scope global lo")
    assert "r1:" not in left
    assert judges.devices_with(lab["d"], "10.77.0.100") == []
    assert lab.kubectl("get nodes -l extra -o name") == ""
    assert clients.requests(lab.host, lab["r1"].ip, n=1).errors != [], "the web server is gone"
    assert [lab.host.ok(f"ping -c 1 -W 2 {lab[name].ip}") for name in ("r2", "r3")] == [True, True]


def test_no_api_server_in_the_plain_lab(plain_lab):
    assert plain_lab.api is None
    with pytest.raises(OSError):
        plain_lab.host.connect(plain_lab.address(), 6443)

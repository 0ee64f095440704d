"""What an agent's pod can do, and what it cannot: a shell under exactly the security settings of the installed DaemonSet."""

import copy

import pytest
from ground.place import CommandFailed
from cluster_site import SPACE
from objects import container

pytestmark = pytest.mark.core

PROBE = "probe"
DAEMON_SET = f"/apis/apps/v1/namespaces/{SPACE}/daemonsets/directway-agent"

SEES_KUBELET = "grep -l kubelet /proc/[0-9]*/comm"
CAN = {
    "an address on the node's loopback": "ip addr add 198.51.100.7/32 dev lo && ip addr del 198.51.100.7/32 dev lo",
    "a device of its own": "ip link add probe0 type dummy && ip link del probe0",
    "ARP requests": "arping -c 1 -w 2 -I eth0 10.77.0.254",
    "its ledger": "touch /run/directway/probe && rm /run/directway/probe",
}
CANNOT = {
    "write a sysctl": ("echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore", "Read-only file system"),
    "write to sysfs": ("echo probe > /sys/class/net/lo/ifalias", "Read-only file system"),
    "write to its root": ("touch /probe", "Read-only file system"),
    "load a module": ("insmod /bin/busybox", "Operation not permitted"),
    "mount": ("mount -t tmpfs none /tmp", "ermission denied|not permitted"),
    "remount /proc/sys": ("mount -o remount,rw /proc/sys", "ermission denied|not permitted"),
    "see the node's processes": (SEES_KUBELET, "exit code 1"),
    "enter the node's namespaces": ("nsenter --target 1 --mount --uts true", "not permitted"),
    "make a namespace": ("unshare --mount true", "not permitted"),
    "make a device": ("mknod /run/directway/disk b 98 0", "not permitted"),
    "read the kernel's log": ("dmesg", "not permitted"),
    "set the clock": ("date -s 2020-01-01; exit 1", "not permitted"),
    "rename the node": ("hostname other", "not permitted"),
    "switch the node off": ("reboot -f", "not permitted"),
    "become another user": ("chown 1 /run/directway; setuidgid 1:1 true", "not permitted"),
    "read the kubelet's secrets": ("ls /var/lib/kubelet", "No such file"),
}


@pytest.fixture(scope="module")
def probe(cluster):
    """Runs a line in the probe's shell; CommandFailed if it fails."""
    site = cluster.install()
    template = copy.deepcopy(site.api.get(DAEMON_SET)["spec"]["template"]["spec"])
    (agent,) = template["containers"]
    keep = ("securityContext", "volumeMounts", "env", "resources")
    shell = container("probe", "exec sleep 3600") | {key: agent[key] for key in keep if key in agent}
    spec = {**template, "containers": [shell], "affinity": {}, "nodeName": "other", "terminationGracePeriodSeconds": 0}
    site.api.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": PROBE, "namespace": SPACE}, "spec": spec})
    site.kubectl(f"--namespace {SPACE} wait --for=condition=Ready pod/{PROBE} --timeout=60s", timeout=70)
    yield lambda line: site.api.kubectl_words(["--namespace", SPACE, "exec", PROBE, "--", "sh", "-c", line])
    site.kubectl(f"--namespace {SPACE} delete pod {PROBE} --wait")


def test_its_capabilities(probe):
    status = dict(line.split(":\t", 1) for line in probe("cat /proc/self/status").splitlines() if ":\t" in line)
    # CAP_NET_ADMIN is bit 12, CAP_NET_RAW is bit 13.
    assert {int(status[key], 16) for key in ("CapEff", "CapPrm", "CapBnd")} == {0x3000}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("what", CAN)
def test_it_can(probe, what):
    probe(CAN[what])


def test_there_is_something_to_see(cluster):
    """Without this the next test would prove nothing."""
    assert cluster["other"].sh(SEES_KUBELET)


@pytest.mark.parametrize("what", CANNOT)
def test_it_cannot(probe, what):
    line, reason = CANNOT[what]
    with pytest.raises(CommandFailed, match=reason):
        probe(line)

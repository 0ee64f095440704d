"""The ground of this level: its kubelets do what a user expects of a cluster."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ground import assets
from ground.wait import wait_until
from cluster_site import NODES
from objects import pod


def test_all_nodes_are_ready(cluster):
    print(f"\n{len(NODES)} nodes Ready {cluster.ready_after:.1f} s after the start")
    lines = cluster.kubectl("get nodes --no-headers").splitlines()
    version = cluster.api.get("/version")["gitVersion"]
    assert {line.split()[0]: (line.split()[1], line.split()[4]) for line in lines} == {n: ("Ready", version) for n in NODES}


def test_pods_logs_and_exec(cluster):
    """Pods on two nodes reach each other and the API server; kubectl reaches into them."""
    for name, node in (("east", "r1"), ("west", "r2")):
        cluster.api.apply(pod(name, "echo I am $HOSTNAME; exec httpd -f -p 8080 -h /etc", nodeName=node))
    cluster.kubectl("wait --for=condition=Ready pod/east pod/west --timeout=60s")
    assert cluster.kubectl("logs east") == "I am east\n"
    address = cluster.api.get("/api/v1/namespaces/default/pods/west")["status"]["podIP"]
    assert cluster.kubectl(f"exec east -- wget -qO- http://{address}:8080/passwd").startswith("root:")
    assert cluster.kubectl("exec east -- nc -w 3 10.96.0.1 443") == ""
    cluster.kubectl("delete pod east west --wait")


OWNER = """
import sys, time; sys.path.insert(0, sys.argv[1])
from ground import Lab, cluster
lab = cluster.boot(Lab("cluster"), ("n",))
print(lab.id, lab.dir, lab["n"].disks, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_cluster(end):
    """No process, no namespace and no disk is left, however the lab's owner ends."""
    line = [sys.executable, "-c", OWNER, assets.ROOT / "tests"]
    owner = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    name, *directories = owner.stdout.readline().split()
    assert any("kube-scheduler" in line for line in processes(name))
    owner.send_signal(end)
    owner.wait(20)
    for path in (f"/run/netns/{name}", *directories):
        wait_until(lambda path=path: not Path(path).exists(), f"{path} to go")
    wait_until(lambda: not processes(name), "all processes to go")


def processes(lab: str) -> list[str]:
    """Command lines in which a lab's directory or namespace occurs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            pass  # it has just ended
    return [line for line in found if lab in line]

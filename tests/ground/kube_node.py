"""Ground `cluster`: the lab's user-mode-linux node, with a disk, containerd and a real kubelet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import assets, tools_image
from .node import NodeProcess
from .place import PlaceSilent
from .uml import UmlNode
from .wait import wait_until

MEMORY = 768  # MiB: containerd, kubelet and a few pods take 250 to 320
DISK = "8G"  # a sparse file
SOCKET = "/run/containerd/containerd.sock"
PROGRAMS = "/run/programs"  # first in the PATH of containerd, and so of network plugins
NAMESPACE = "k8s.io"  # of containerd, where the kubelet looks


class KubeNode(UmlNode):
    """A member of the cluster as soon as wait_ready() returns. Its disk survives reboots.

    `containerd` and `kubelet` are processes that a scenario may stop; start_kubelet() brings the latter back.
    """

    abilities = UmlNode.abilities - {"hot-add"} | {"kubelet"}
    containerd: NodeProcess
    kubelet: NodeProcess

    def __init__(self, lab, name, nics, gateway, memory, index):
        super().__init__(lab, name, nics, gateway or lab.address(nics[0].segment), max(memory, MEMORY), index)
        self.pod_network = f"10.244.{index}.0/24"
        self.joined = 0  # the number of the boot in which it last joined the cluster
        # Not in memory, where the lab's directory is.
        self.disks = Path(tempfile.mkdtemp(prefix=f"{lab.id}-{name}-", dir=os.environ.get("TMPDIR") or "/var/tmp"))
        lab.janitor.add_dir(self.disks)

    @property
    def disk(self) -> Path:
        return self.disks / "disk"

    def start(self) -> None:
        if not self.disk.exists():
            subprocess.run(["truncate", "-s", DISK, self.disk], check=True)
            lazily = "lazy_itable_init=1,lazy_journal_init=1"
            subprocess.run(["mkfs.ext4", "-q", "-E", lazily, "-m", "0", self.disk], check=True)
            self.lab.host.sh(["ip", "route", "replace", self.pod_network, "via", self.ip])
        super().start()

    def _command(self, line: int) -> list[str]:
        return [*super()._command(line), f"ubd0={self.disk}", "dw_disk=/dev/ubda"]

    def wait_ready(self, timeout: float = 60) -> "KubeNode":
        """Waits for the boot, and starts containerd and kubelet; the lab must have an API server."""
        super().wait_ready(timeout)
        if self.joined != self.boots:
            first = not self.joined
            self._join()
            if first:
                self.load(tools_image.archive(self.exchange))
        return self

    def _join(self) -> None:
        super().wait_ready(60)
        self._start_containerd()
        self.start_kubelet()
        self.joined = self.boots

    def close(self) -> None:
        super().close()
        subprocess.run(["rm", "-rf", self.disks], check=True)

    # containerd -----------------------------------------------------------------------------------

    def _start_containerd(self) -> None:
        tools = assets.containers()
        self.write("/run/cni/10-lab.conflist", json.dumps(cni(self.pod_network)))
        # The packaged kernel has no NAT for nftables.
        # For IPv6 as well: portmap takes Debian's ip6tables for usable and fails, so that a pod's network is never set up.
        self.sh(f"mkdir -p {PROGRAMS} && cd {PROGRAMS} && for p in iptables ip6tables; do ln -sf /usr/sbin/$p-legacy $p; done")
        self.write("/run/containerd.toml", CONTAINERD.format(
            plugins=tools / "usr/lib/cni", runc=tools / "usr/sbin/runc", sandbox=assets.TOOLS_IMAGE,
        ))
        self.containerd = self.spawn(
            [tools / "usr/bin/containerd", "-c", "/run/containerd.toml"], "containerd.log", {"PATH": self._path()}
        )

    def _path(self) -> str:
        return f"{assets.containers()}/usr/bin:{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin"

    def ctr(self, *words: object, timeout: float = 60) -> str:
        program = assets.containers() / "usr/bin/ctr"
        wait_until(lambda: self.ok(["test", "-S", SOCKET]), f"containerd on {self.name}", 30)
        return self.sh([program, "--namespace", NAMESPACE, *words], timeout)

    def load(self, archive: Path) -> None:
        """Imports an image and syncs the disk, because a power loss would otherwise leave empty files."""
        # Through the exchange directory, because a node does not see every directory of this machine.
        shared = self.exchange / archive.name
        if shared != archive:
            shutil.copyfile(archive, shared)
        try:
            self.ctr("images", "import", f"/run/x/{shared.name}", timeout=30)
        except PlaceSilent:
            # Once in some fifty boots on a busy machine the packaged kernel spins, and no process in it runs any more.
            self.power_off()
            self.start()
            self._join()
            self.ctr("images", "import", f"/run/x/{shared.name}")
        shared.unlink()
        self.sh(["sync", "-f", "/var/lib/containerd"], 60)

    # kubelet --------------------------------------------------------------------------------------

    def start_kubelet(self) -> NodeProcess:
        api, name = self.lab.api, self.lab.api.assign_roles(self.name, self.ip)
        self.write("/run/kubelet/ca.crt", (api.dir / "ca.crt").read_bytes())
        for suffix in ("crt", "key"):
            self.write(f"/run/kubelet/{suffix}", (api.dir / f"{name}.{suffix}").read_bytes(), 0o600)
        self.write("/run/kubelet/client.conf", api.client_config(name, self.lab.forwarder(self).url), 0o600)
        self.write("/run/kubelet/config.json", json.dumps(KUBELET))
        flags = {
            "config": "/run/kubelet/config.json", "kubeconfig": "/run/kubelet/client.conf",
            "hostname-override": self.name, "node-ip": self.ip, "v": 2,
        }
        words = [str(assets.tool("kubelet", "cluster")), *(f"--{key}={value}" for key, value in flags.items())]
        # The kubelet exits at once if containerd does not answer.
        waiting = f"until [ -S {SOCKET} ]; do sleep 0.1; done; exec \"$@\""
        self.kubelet = self.spawn(["bash", "-c", waiting, "kubelet", *words], "kubelet.log", {"PATH": self._path()})
        return self.kubelet


def cni(pods: str) -> dict:
    """CNI configuration: a bridge on every node; the lab routes between nodes."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    return {"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]}


CONTAINERD = """version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "/run/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
"""

KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
    "authentication": {
        "anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": "/run/kubelet/ca.crt"},
    },
    "authorization": {"mode": "Webhook"},
    "tlsCertFile": "/run/kubelet/crt", "tlsPrivateKeyFile": "/run/kubelet/key",
    "containerRuntimeEndpoint": f"unix://{SOCKET}",
    "cgroupDriver": "cgroupfs", "failSwapOn": False, "enforceNodeAllocatable": [], "maxPods": 30,
    # No garbage collection or eviction: images cannot be pulled again, and this machine's disk may be nearly full.
    "imageGCHighThresholdPercent": 100,
    "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
    "volumePluginDir": "/var/lib/kubelet/plugins", "resolvConf": "",
    "clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.local",  # there is no DNS server
    "makeIPTablesUtilChains": False,  # the packaged user-mode-linux kernel has no NAT for nftables
}

"""A cluster's API server with controller manager and scheduler, all natively in the lab's namespace."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from .apiserver import HERE, ApiServer
from .netns import NativeProcess

if TYPE_CHECKING:
    from .lab import Lab

IN_CLUSTER = "10.96.0.1"  # of the Service `kubernetes`: the first of the API server's service range
NODE_USER, NODE_GROUP = "system:node:", "system:nodes"


class ControlPlane(ApiServer):
    """Serves on 10.96.0.1:443 too, so that pods reach it without a kube-proxy; kubelets have certificates."""

    port = 443

    def __init__(self, lab: "Lab"):
        lab.host.sh(f"ip addr add {IN_CLUSTER}/32 dev lo")
        self.helpers: dict[str, NativeProcess] = {}
        super().__init__(lab)

    def names(self) -> list[str]:
        return [*super().names(), f"IP:{IN_CLUSTER}"]

    def start(self) -> None:
        if not (self.dir / "kubelet-client.crt").exists():
            self.certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver", "extendedKeyUsage=clientAuth")
        super().start()

    def flags(self) -> dict[str, object]:
        flags = {
            **super().flags(),
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            "client-ca-file": self.dir / "ca.crt",
            "kubelet-certificate-authority": self.dir / "ca.crt",
            "kubelet-client-certificate": self.dir / "kubelet-client.crt",
            "kubelet-client-key": self.dir / "kubelet-client.key",
            "kubelet-preferred-address-types": "InternalIP",
        }
        del flags["disable-admission-plugins"]
        return flags

    def wait_ready(self, timeout: float = 60) -> "ControlPlane":
        """Also starts controller manager and scheduler, only now: the former gives up after ten seconds without a server."""
        super().wait_ready(timeout)
        own = {
            "service-account-private-key-file": self.dir / "accounts.key",
            "root-ca-file": self.dir / "ca.crt",
        }
        for program, flags in (("kube-controller-manager", own), ("kube-scheduler", {})):
            if program not in self.helpers or not self.helpers[program].running():
                flags = {"kubeconfig": self.config, "leader-elect": "false", "secure-port": 0, "v": 1, **flags}
                self.helpers[program] = self._spawn(program, f"{program}.log", flags, "cluster")
        return self

    def renew_keys(self) -> None:
        """Makes another serving certificate of the same CA, and another key that signs tokens of service accounts, so that the
        server refuses the old tokens. In force from the next start() on; call it while the server is stopped."""
        self.certificate("server", "/CN=kube-apiserver", f"subjectAltName={','.join(self.names())}", "extendedKeyUsage=serverAuth")
        self.certificate("accounts", "/CN=service-accounts")

    def certificate(self, name: str, subject: str, *extensions: str) -> None:
        """Makes `name`.key and `name`.crt."""
        subprocess.run(["bash", str(HERE / "cert.sh"), str(self.dir), name, subject, *extensions], check=True)

    def client_config(self, name: str, url: str) -> str:
        """Text of a kubeconfig for the user of certificate `name`."""
        user = {"client-certificate-data": self.encoded(f"{name}.crt"), "client-key-data": self.encoded(f"{name}.key")}
        return self._config(url, user)

    def assign_roles(self, node: str, address: str) -> str:
        """Makes a kubelet's key and certificate, as client and server; returns their name."""
        name = f"node-{node}"
        if not (self.dir / f"{name}.crt").exists():
            self.certificate(
                name, f"/O={NODE_GROUP}/CN={NODE_USER}{node}", f"subjectAltName=IP:{address},DNS:{node}",
                "extendedKeyUsage=serverAuth,clientAuth",
            )
        return name

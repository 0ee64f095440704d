"""`make lab-shell`: boots a lab and opens a shell in its namespace; the lab is removed when the shell ends.

With `cluster` (`make cluster-shell`): real kubelets, and the image loaded; with `cluster stay` (`make cluster`): no shell, until Ctrl-C.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from . import Lab, assets, web
from .workstation import Workstation
from .standard import standard_cluster, standard_lab

HELP = """
  on NODE COMMAND…   runs a command on a node: {nodes}
  kubectl …, kubectl directway …  as cluster admin (KUBECONFIG is set); curl, arping -I lan, tcpdump -i lan act in the lab's namespace
  power_off NODE, boot NODE, cut NODE, join NODE, freeze NODE, thaw NODE, agent NODE [dir]
  leave with exit or Ctrl-D
"""
CLUSTER_HELP = """
  You are cluster admin on a machine in the nodes' segment: kubectl, helm, kubectl directway, curl, arping -I shop, tcpdump -i shop.
  directway's image is on every node; nothing is installed yet. docs/install.md can be followed as it stands, from here for example:

    kubectl label node node-1 directway.dev/director=true
    kubectl label node node-2 node-3 directway.dev/backend=true
    helm install directway charts/directway --namespace directway-system --create-namespace
    kubectl apply -f examples/web-servers.yaml -f examples/web.yaml
    curl http://192.168.188.120

  on NODE COMMAND…   runs a command on a node: {nodes}
  power_off NODE, boot NODE, cut NODE, join NODE, freeze NODE, thaw NODE
  leave with exit or Ctrl-D
"""
STAY = """
  ip netns exec {netns} {kubectl} --kubeconfig {config} get nodes
  Ctrl-C ends it
"""
ORDERS = ("power_off", "boot", "cut", "join", "freeze", "thaw", "agent")


def obey(lab: Lab, words: list[str]) -> tuple[int, str]:
    """Runs one line of the shell's helper commands; exit status and output."""
    order, name, *rest = words
    node = lab[name]
    if order == "on":
        result = node.call(rest if len(rest) > 1 else rest[0], timeout=600)
        return result.rc, result.out + result.err
    if order == "boot":
        node.start()
        node.wait_ready()
    elif order == "agent":
        node.start_agent(*rest)
        return 0, f"log: {node.agent.process.log}\n"
    elif order in ORDERS:
        getattr(node, order)()
    return 0, ""


def serve(lab: Lab, path: str) -> None:
    """Serves the requests of `ground/shell_order.py`, which the shell's functions call."""
    import json
    import socketserver
    import threading

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                rc, text = obey(lab, json.loads(self.rfile.readline()))
            except Exception as reason:
                rc, text = 1, f"{reason}\n"
            self.wfile.write(json.dumps([rc, text]).encode())

    server = socketserver.ThreadingUnixStreamServer(path, Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()


ORDER = """
import json, socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall((json.dumps(sys.argv[2:]) + "\\n").encode())
rc, text = json.loads(s.makefile().read()); sys.stdout.write(text); sys.exit(rc)
"""


def boot_lab(lab: Lab) -> str:
    standard_lab(lab)
    for name in ("r1", "r2", "r3"):
        web.start(lab[name])
    return HELP


def boot_cluster(lab: Lab) -> str:
    began = time.monotonic()
    standard_cluster(lab, lambda text: print(f"{time.monotonic() - began:5.1f} s  {text}", file=sys.stderr))
    return CLUSTER_HELP


def shell(lab: Lab) -> int:
    """A shell in the lab's namespace; without a terminal it runs the script on standard input. Returns the exit status."""
    path, workstation = f"{lab.dir}/shell", Workstation(lab)
    serve(lab, path)
    (lab.dir / "order.py").write_text(ORDER)
    lines = [f"{word}() {{ /usr/bin/python3 -S {lab.dir}/order.py {path} {word} \"$@\"; }}" for word in ("on", *ORDERS)]
    lines += [f"PATH={workstation.path}:$PATH"]
    (lab.dir / "orders").write_text("\n".join(lines) + "\n")
    # Not with BASH_ENV, which every bash below the shell would read, scripts too.
    (lab.dir / "bashrc").write_text(f"[ -f ~/.bashrc ] && . ~/.bashrc\n. {lab.dir}/orders\nPS1='lab# '\n")
    bash = ["--rcfile", f"{lab.dir}/bashrc", "-i"] if sys.stdin.isatty() else ["-c", f". {lab.dir}/orders; . /dev/stdin"]
    return subprocess.run(["ip", "netns", "exec", lab.host.netns, "bash", *bash], env=workstation.environment).returncode


def main(words: list[str]) -> int:
    wants_cluster, stays = "cluster" in words, "stay" in words
    print("booting …", file=sys.stderr)
    with Lab("cluster" if wants_cluster else None) as lab:
        text = (boot_cluster if wants_cluster else boot_lab)(lab)
        if stays:
            kubectl = assets.tool("kubectl", "api")
            print(STAY.format(netns=lab.host.netns, kubectl=kubectl, config=lab.api.config), file=sys.stderr)
            try:
                signal.pause()
            except KeyboardInterrupt:
                return 0
        print(text.format(nodes=" ".join(f"{n.name} ({n.ip})" for n in lab.nodes.values())), file=sys.stderr)
        return shell(lab)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

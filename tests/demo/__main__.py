"""The main job on a fresh machine: one director, three real servers, one manifest, and proof of what happens.

Usage: python3 tests/demo [kubernetes|directory]
"""

import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from ground import Lab, judges, web  # noqa: E402

import proof  # noqa: E402
from cluster import Cluster  # noqa: E402
from hosts import PlainHosts  # noqa: E402
from narrate import say, show, step  # noqa: E402

SEGMENT = ("shop", "192.168.188.0/24")
VIP = "192.168.188.120"
REAL_SERVERS = ("web-1", "web-2", "web-3")
NODES = ("director", *REAL_SERVERS)


def main(source: str) -> None:
    began = time.monotonic()
    with Lab() as lab:
        lab.segment(*SEGMENT)
        for number, name in enumerate(NODES):
            lab.node(name, [(SEGMENT[0], f"192.168.188.{10 + number}/24")])
        step("Boot one director and three real servers, each with its own kernel")
        lab.boot()
        for name in REAL_SERVERS:
            web.start(lab[name])
        say(f"{len(NODES)} kernels and three web servers run after {time.monotonic() - began:.1f} s.")
        before = {name: judges.snapshot(lab[name]) for name in NODES}

        platform = Cluster(lab, NODES) if source == "kubernetes" else PlainHosts(lab, NODES)
        platform.start()
        platform.apply_example()
        for name in NODES:
            step(f"What {name} got")
            show(lab[name], "ip -br addr", "ipvsadm -Sn" if name == "director" else "sysctl net.ipv4.conf.eth0.arp_ignore net.ipv4.conf.eth0.arp_announce")

        proof.twelve_requests(lab, VIP)
        proof.who_has(lab, SEGMENT[0], VIP)
        proof.path_of_a_request(lab, SEGMENT[0], VIP, NODES)

        step("Give web-3 three times the weight")
        platform.set_weight("web-3", 3)
        proof.spread(lab, VIP, {"web-1": 20, "web-2": 20, "web-3": 60}, 100)

        step("Delete it: nothing is left behind")
        platform.delete_example()
        proof.nothing_left(lab, before)
        platform.stop()
    say(f"\nDone in {time.monotonic() - began:.0f} s. Everything that was started has ended.")


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else "kubernetes"
    if wanted not in ("kubernetes", "directory"):
        sys.exit(f"SOURCE={wanted!r}: use kubernetes (the default) or directory")
    main(wanted)

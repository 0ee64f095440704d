"""The demo on a fresh machine: a director, real servers, one manifest, and proof of the result.

Usage: python3 tests/demo [kubernetes|directory|cluster]
"""

import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from ground import Lab  # noqa: E402
from ground.assets import Missing  # noqa: E402

import cluster_walkthrough  # noqa: E402
import lab_walkthrough  # noqa: E402
from console import say  # noqa: E402

# Each mode, and what to try if it cannot run.
MODES = {
    "kubernetes": "make demo SOURCE=directory needs no API server",
    "directory": "make sim runs whole nodes on simulated kernels, without privileges",
    "cluster": "make demo needs no kubelets, containers or Helm",
}


def main(mode: str) -> None:
    began = time.monotonic()
    with Lab("cluster" if mode == "cluster" else None) as lab:
        if mode == "cluster":
            cluster_walkthrough.show(lab)
        else:
            lab_walkthrough.show(lab, mode)
        say("\nTaking it all down.")
    say(f"Done in {time.monotonic() - began:.0f} s. Everything that was started has ended.")


if __name__ == "__main__":
    wanted = sys.argv[1] if len(sys.argv) > 1 else "kubernetes"
    if wanted not in MODES:
        sys.exit(f"SOURCE={wanted!r}: use kubernetes (the default) or directory; with real kubelets: CLUSTER=1")
    try:
        main(wanted)
    except Missing as reason:
        sys.exit(f"this demo cannot run here: {reason}\n  without it: {MODES[wanted]}")
    except KeyboardInterrupt:
        say("\nInterrupted. Everything that was started has ended.")
        sys.exit(130)

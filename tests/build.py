"""Builds what the levels run: the program, and the contract suite that the lab runs on its nodes.

It builds both together with a test, so that Cargo chooses the features that tests need and `cargo test` finds every dependency
built. The suite's file has a hash in its name; the link `target/debug/contract` leads to it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ground.assets import ROOT, contract_link

COMMAND = ["cargo", "build", "--locked", "--bins", "--test", "contract", "--message-format=json-render-diagnostics"]


def main() -> int:
    # Progress and diagnostics go to standard error as they come.
    done = subprocess.run(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return done.returncode
    artifacts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    suite = next(Path(one["executable"]) for one in artifacts if one.get("executable") and one["target"]["name"] == "contract")
    link = contract_link()
    fresh = link.with_name(f"{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(suite, link.parent))
    fresh.replace(link)
    return 0


if __name__ == "__main__":
    sys.exit(main())

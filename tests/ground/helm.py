"""Helm, never with the user's own settings."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from typing import TYPE_CHECKING

from . import assets
from .place import CommandFailed

if TYPE_CHECKING:
    from .lab import Lab


def homes(lab: "Lab") -> dict[str, str]:
    """Environment variables that keep Helm away from the user's own directories."""
    return {f"HELM_{kind}_HOME": str(lab.dir / "helm") for kind in ("CACHE", "CONFIG", "DATA")}


def helm(words: str, values: dict | None = None, lab: "Lab | None" = None, timeout: float = 120) -> subprocess.CompletedProcess:
    """Runs `helm WORDS` with values; against the lab's API server if there is one."""
    line = [str(assets.tool("helm", "helm")), *shlex.split(words)]
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "HELM_NO_PLUGINS": "1"}
    if values is not None:
        line += ["--values", "-"]
    if lab:
        line = ["ip", "netns", "exec", lab.host.netns, *line]
        environment |= {"KUBECONFIG": str(lab.api.config), **homes(lab)}
    # JSON is YAML.
    return subprocess.run(
        line, input=json.dumps(values or {}), capture_output=True, text=True, timeout=timeout, env=environment
    )


def helm_ok(words: str, values: dict | None = None, lab: "Lab | None" = None, timeout: float = 120) -> str:
    """The output of helm(); CommandFailed if it failed."""
    done = helm(words, values, lab, timeout)
    if done.returncode:
        raise CommandFailed(f"helm {words}: {done.stdout}{done.stderr}")
    return done.stdout

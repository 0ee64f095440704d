"""The tools of a lab's user: kubectl, helm, directway and its plugin for kubectl, and a kubeconfig."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import assets, helm, oci
from .lab import Lab

QUIET = 5.0  # seconds without output after which rows() yields None


class Workstation:
    """`environment` is for a shell in the lab's namespace; rows() runs a line in one."""

    def __init__(self, lab: Lab):
        self.lab = lab
        tools = dict.fromkeys([self._programs(), assets.tool("kubectl", "api").parent, *_helm()])
        self.path = ":".join(map(str, tools))
        self.environment = {
            **os.environ, **helm.homes(lab), "LAB_DIR": str(lab.dir), "KUBECONFIG": str(lab.api.config),
            "PATH": f"{self.path}:{os.environ['PATH']}",
        }

    def _programs(self) -> Path:
        """A directory with directway: on a cluster the image's binary, in a lab the one under test."""
        # The lab's own directory may be mounted noexec.
        directory = Path(tempfile.mkdtemp(prefix=f"{self.lab.id}-bin-", dir=os.environ.get("TMPDIR") or "/var/tmp"))
        self.lab.janitor.add_dir(directory)
        program = directory / "directway"
        if self.lab.ground == "cluster":
            program.write_bytes(oci.contents(assets.image())["directway"])
            program.chmod(0o755)
        else:
            program.symlink_to(assets.directway())
        (directory / "kubectl-directway").symlink_to(program)
        return directory

    def rows(self, line: str) -> Iterator[str | None]:
        """Runs a shell line in the repository's root; yields output as it comes, and None after QUIET seconds without. CommandFailed if it failed."""
        return self.lab.host.rows(line, QUIET, self.environment, assets.ROOT)


def _helm() -> list[Path]:
    """Helm's directory, if Helm is there: only clusters are sure to have it."""
    try:
        return [assets.tool("helm", "helm").parent]
    except assets.Missing:
        return []

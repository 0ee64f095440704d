"""What the Dockerfile sends to the build is what the build needs. Building the image itself needs Docker: `make image`."""

import shutil
import subprocess

from ground import assets

ROOT = assets.ROOT


def copied() -> list[str]:
    """Sources of the first stage's COPY lines."""
    build = (ROOT / "Dockerfile").read_text().split("\nFROM scratch")[0]
    lines = [line.split()[1:-1] for line in build.splitlines() if line.startswith("COPY ")]
    return [source for sources in lines for source in sources]


def test_everything_copied_is_in_the_context():
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    assert {line.removeprefix("!") for line in ignore[1:]} == set(copied())


def test_cargo_accepts_the_context(tmp_path):
    """Targets that the manifest names must be there, also those that are not built."""
    for source in copied():
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, target)
    # Cargo complains of the manifest first; a target that nobody has keeps it from building anything.
    done = subprocess.run(
        ["cargo", "check", "--locked", "--offline", "--bin", "none"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "no bin target named `none`" in done.stderr, done.stderr

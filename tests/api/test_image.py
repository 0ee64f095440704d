"""The Dockerfile: its build context has what the build needs, and its final stage can be assembled without Docker."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ground import assets
from ground.dockerfile import Unknown, final_stage
from ground.oci import File, Image

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
    """The files of all targets in Cargo.toml must be there, also of those that are not built."""
    for source in copied():
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, target)
    # Cargo checks the manifest first; a target that does not exist keeps it from building anything.
    done = subprocess.run(
        ["cargo", "check", "--locked", "--offline", "--bin", "none"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "no bin target named `none`" in done.stderr, done.stderr


@pytest.fixture
def stage(tmp_path):
    """Assembles a final stage after the repository's first one; `more` is added to it."""
    (tmp_path / "built").write_bytes(b"program")

    def assemble(more: str = "", arguments: dict | None = None):
        dockerfile = tmp_path / "Dockerfile"
        dockerfile.write_text((ROOT / "Dockerfile").read_text() + more)
        return final_stage(dockerfile, tmp_path / "built", arguments or {})

    return assemble


def test_the_final_stage(stage):
    image = stage(arguments={"VERSION": "1.2.3", "REVISION": ""})
    assert {path: file.content for path, file in image.files.items()} == {"directway": b"program"}
    assert (image.entrypoint, image.user) == (["/directway"], "0:0")
    assert image.labels["org.opencontainers.image.version"] == "1.2.3"
    assert image.labels["org.opencontainers.image.revision"] == "unknown", "empty is not given"
    assert image.labels["org.opencontainers.image.description"] == "LVS direct routing for Kubernetes, declared and reconciled"


def test_nothing_in_it_is_overlooked(stage):
    with pytest.raises(Unknown, match="HEALTHCHECK"):
        stage("HEALTHCHECK NONE\n")


def test_an_archive_is_the_same_twice(stage, tmp_path):
    digests = {stage().save(tmp_path / name, "localhost/x:1") for name in ("one", "two")}
    assert len(digests) == 1 and (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert stage(arguments={"VERSION": "2"}).save(tmp_path / "three", "localhost/x:1") not in digests


def test_images_are_compared_by_what_they_hold(tmp_path):
    """tests/e2e/same_image.py, which compares Docker's image with the one that is assembled without Docker."""
    sys.path.append(str(ROOT / "tests" / "e2e"))
    import same_image

    def archive(name: str, **changes) -> Path:
        image = Image(files={"directway": File(b"program")}, entrypoint=["/directway"], user="0:0", labels={"a": "b"})
        dataclasses.replace(image, **changes).save(tmp_path / name, name)
        return tmp_path / name

    one = same_image.content(archive("one"))
    assert one["entrypoint"] == ["/directway"] and "/directway" in one
    assert same_image.differences(one, same_image.content(archive("same"))) == []
    for field, change in {
        "user": {"user": "1:1"}, "label a": {"labels": {}}, "/directway": {"files": {"directway": File(b"program", mode=0o644)}},
    }.items():
        (difference,) = same_image.differences(one, same_image.content(archive("other", **change)))
        assert difference.startswith(f"{field}: ")

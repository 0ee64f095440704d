"""Container images as OCI archives, without engine or registry: the same input gives the same bytes.

An image is one uncompressed layer. `ctr images import`, `docker load` (25 and later), skopeo and podman read the archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

MEDIA = "application/vnd.oci.image"


@dataclass(frozen=True)
class File:
    """A regular file with its content, or a symbolic link with its target."""

    content: bytes = b""
    link: str = ""
    mode: int = 0o755


@dataclass(frozen=True)
class Image:
    files: dict[str, File]  # by path without leading slash
    entrypoint: list[str] = field(default_factory=list)
    user: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    def layer(self) -> bytes:
        return _tar({path: self.files[path] for path in sorted(self.files)})

    def config(self, layer: bytes) -> dict:
        """The image's configuration, without a creation time, so that each build gives the same image."""
        settings = {"User": self.user, "Entrypoint": self.entrypoint, "Labels": self.labels, "WorkingDir": "/"}
        return {
            "architecture": "amd64", "os": "linux",
            "config": {key: value for key, value in settings.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }

    def save(self, path: Path, *names: str) -> str:
        """Writes the archive; `names` are the image's names in containerd. Returns the manifest's digest."""
        layer = self.layer()
        config = _json(self.config(layer))
        manifest = _json({
            "schemaVersion": 2, "mediaType": f"{MEDIA}.manifest.v1+json",
            "config": _describe(config, "config.v1+json"), "layers": [_describe(layer, "layer.v1.tar")],
        })
        entries = [{
            **_describe(manifest, "manifest.v1+json"), "platform": {"architecture": "amd64", "os": "linux"},
            "annotations": {
                "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            },
        } for name in names]
        index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": entries}
        files = {"oci-layout": File(b'{"imageLayoutVersion":"1.0.0"}', mode=0o644), "index.json": File(_json(index), mode=0o644)}
        for blob in (manifest, config, layer):
            files[f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}"] = File(blob, mode=0o644)
        partial = path.with_name(f".{path.name}.new")
        partial.write_bytes(_tar(files))
        partial.rename(path)
        return _digest(manifest)


def contents(archive: Path) -> dict[str, bytes]:
    """Regular files by path of an archive that save() wrote."""
    with tarfile.open(archive) as outer:
        def blob(descriptor: dict) -> bytes:
            return outer.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()

        (entry,) = json.load(outer.extractfile("index.json"))["manifests"]
        (layer,) = json.loads(blob(entry))["layers"]
        with tarfile.open(fileobj=io.BytesIO(blob(layer))) as inner:
            return {member.name: inner.extractfile(member).read() for member in inner.getmembers() if member.isfile()}


def _tar(files: dict[str, File]) -> bytes:
    """A tar archive of the files in the given order, owned by root, with times of 1970."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, file in files.items():
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = file.mode, len(file.content)
            if file.link:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
            archive.addfile(entry, io.BytesIO(file.content))
    return sink.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _describe(blob: bytes, kind: str) -> dict:
    return {"mediaType": f"{MEDIA}.{kind}", "digest": _digest(blob), "size": len(blob)}

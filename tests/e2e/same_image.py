"""Compares the contents of two image archives: `same_image.py A B`, each an OCI archive or one of `docker save`.

Docker's build and the assembly without Docker must give the same image, except for how layers are cut and packed.
Prints what differs; the exit status is 1 if anything does.
"""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path


def content(archive: Path) -> dict[str, object]:
    """Path → file, and the settings that matter when the image runs."""
    with tarfile.open(archive) as files:

        def blob(descriptor: dict) -> bytes:
            return files.extractfile(f"blobs/{descriptor['digest'].replace(':', '/')}").read()

        manifest = json.loads(files.extractfile("index.json").read())
        while "manifests" in manifest:  # an index may point to an index
            images = [one for one in manifest["manifests"] if one.get("platform", {}).get("architecture") != "unknown"]
            assert len(images) == 1, f"{archive}: {len(images)} images"
            manifest = json.loads(blob(images[0]))
        config = json.loads(blob(manifest["config"]))
        settings = config["config"]
        found: dict[str, object] = {
            "platform": f"{config['os']}/{config['architecture']}", "user": settings.get("User", ""),
            "entrypoint": settings.get("Entrypoint"), "command": settings.get("Cmd"),
            "working directory": settings.get("WorkingDir") or "/",
        }
        found |= {f"label {name}": value for name, value in (settings.get("Labels") or {}).items()}
        for layer in manifest["layers"]:
            found |= contents_of_layer(blob(layer))
        return found


def contents_of_layer(data: bytes) -> dict[str, object]:
    found: dict[str, object] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as layer:
        for entry in layer:
            body = layer.extractfile(entry).read() if entry.isfile() else entry.linkname.encode()
            what = (entry.type.decode(), oct(entry.mode), entry.uid, entry.gid, hashlib.sha256(body).hexdigest())
            found[f"/{entry.name.strip('./')}"] = what
    return found


def differences(one: dict[str, object], other: dict[str, object]) -> list[str]:
    names = sorted(one.keys() | other.keys())
    return [f"{name}: {one.get(name)} / {other.get(name)}" for name in names if one.get(name) != other.get(name)]


if __name__ == "__main__":
    found = differences(*(content(Path(path)) for path in sys.argv[1:3]))
    print("\n".join(found) or "the same")
    sys.exit(1 if found else 0)

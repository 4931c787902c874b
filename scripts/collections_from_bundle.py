#!/usr/bin/env python3
"""Unpack the collections that requirements.yml names out of the `ansible` wheel.

Usage: collections_from_bundle.py WHEEL REQUIREMENTS TARGET
The wheel's versions must be those of REQUIREMENTS; a difference is an error (exit status 1, one line each).
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import yaml

Version = dict[str, str]


def wanted(requirements: Path) -> Version:
    """Collection name -> version, as requirements.yml pins them."""
    entries = yaml.safe_load(requirements.read_text())["collections"]
    return {entry["name"]: str(entry["version"]) for entry in entries}


def carried(wheel: zipfile.ZipFile, name: str) -> str:
    """Version of collection `name` inside the wheel; KeyError when it is not there."""
    manifest = f"ansible_collections/{name.replace('.', '/')}/MANIFEST.json"
    return str(json.loads(wheel.read(manifest))["collection_info"]["version"])


def main(argv: list[str]) -> int:
    wheel_path, requirements, target = Path(argv[1]), Path(argv[2]), Path(argv[3])
    with zipfile.ZipFile(wheel_path) as wheel:
        found = {name: carried(wheel, name) for name in wanted(requirements)}
        wrong = {n: v for n, v in wanted(requirements).items() if found[n] != v}
        for name, version in wrong.items():
            print(f"{requirements}: {name} {version}, but {wheel_path.name} carries {found[name]}", file=sys.stderr)
        if wrong:
            return 1
        prefixes = tuple(f"ansible_collections/{name.replace('.', '/')}/" for name in found)
        wheel.extractall(target, [m for m in wheel.namelist() if m.startswith(prefixes)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

"""bin/setup: the collections of requirements.yml are installed, and the bundle that stands in for Galaxy carries the same versions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
REQUIREMENTS = PROJECT / "requirements.yml"
UNPACK = PROJECT / "scripts" / "collections_from_bundle.py"


def wanted() -> dict[str, str]:
    return {entry["name"]: entry["version"] for entry in yaml.safe_load(REQUIREMENTS.read_text())["collections"]}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    version = re.search(r"^ansible_bundle=(\S+)$", (PROJECT / "bin/setup").read_text(), re.MULTILINE)
    assert version
    folder = tmp_path_factory.mktemp("bundle")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder), f"ansible=={version[1]}"]
    subprocess.run(pip, check=True, capture_output=True)
    return next(folder.glob("ansible-*.whl"))


@pytest.mark.parametrize("name", wanted())
def test_installed_collection_has_the_pinned_version(name: str) -> None:
    manifest = PROJECT / ".collections" / "ansible_collections" / name.replace(".", "/") / "MANIFEST.json"
    assert json.loads(manifest.read_text())["collection_info"]["version"] == wanted()[name]


def test_bundle_carries_the_pinned_versions(wheel: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, UNPACK, wheel, REQUIREMENTS, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {path.parent.parent.name + "." + path.parent.name for path in tmp_path.glob("ansible_collections/*/*/MANIFEST.json")}
    assert found == set(wanted())


def test_bundle_with_another_version_is_refused(wheel: Path, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.yml"
    requirements.write_text("collections: [{name: ansible.posix, version: 0.0.1}]\n")
    done = subprocess.run([sys.executable, UNPACK, wheel, requirements, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ansible.posix 0.0.1, but ansible-" in done.stderr

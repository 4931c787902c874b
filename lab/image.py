#!/usr/bin/env python3
"""Build the image of a lab host, once per content, and print its name.

The base is the official Debian image where a registry can be reached, else one bootstrapped from the Debian mirror that
this machine's own apt configuration names. The image trusts the CA certificates that this machine has been given.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = "trixie"
IMAGE = "obcms-lab-host"
CONTEXT = Path(__file__).parent / "image"
# Where Debian and Fedora keep the certificates that an administrator added.
LOCAL_CERTIFICATES = (Path("/usr/local/share/ca-certificates"), Path("/etc/pki/ca-trust/source/anchors"))


class LabError(RuntimeError):
    """What went wrong, in words for the person who runs the lab."""


def run(*command: str, **options: object) -> str:
    """Output of a command; LabError with its last lines when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise LabError(f"{' '.join(command[:4])} ...: exit status {done.returncode}\n{tail}")
    return str(done.stdout)


def local_certificates() -> list[Path]:
    """Certificates added to this machine by hand, in a fixed order."""
    return sorted(path for folder in LOCAL_CERTIFICATES if folder.is_dir() for path in folder.iterdir() if path.is_file())


def debian_mirrors() -> dict[str, str]:
    """{'Debian': uri, 'Debian-Security': uri} of this machine's apt; empty where it has no apt or no Debian."""
    if shutil.which("apt-get") is None:
        return {}
    listing = run("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
    pairs = [line.split(maxsplit=1) for line in listing.splitlines()]
    return {label: uri for label, uri in reversed(pairs) if label in ("Debian", "Debian-Security")}


def apt_sources(mirrors: dict[str, str]) -> str:
    """deb822 sources of the suite on the given mirrors."""
    template = "Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    parts = [template.format(uri=mirrors["Debian"], suites=f"{SUITE} {SUITE}-updates")]
    if "Debian-Security" in mirrors:
        parts.append(template.format(uri=mirrors["Debian-Security"], suites=f"{SUITE}-security"))
    return "\n".join(parts)


def image_tag(mirrors: dict[str, str]) -> str:
    """Name of the image for the present content of its sources."""
    digest = hashlib.sha256(repr(sorted(mirrors.items())).encode())
    for path in [Path(__file__), *sorted(CONTEXT.rglob("*")), *local_certificates()]:
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return f"{IMAGE}:{digest.hexdigest()[:12]}"


def has_image(name: str) -> bool:
    """Whether the engine holds this image."""
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0


def official_base() -> str | None:
    """The official image, pulled; None where no registry answers."""
    name = f"debian:{SUITE}"
    if has_image(name):
        return name
    pull = subprocess.run(["timeout", "60", "docker", "pull", "--quiet", name], capture_output=True, check=False)
    return name if pull.returncode == 0 else None


def bootstrapped_base(mirrors: dict[str, str], folder: Path) -> str:
    """A minimal system from the machine's Debian mirror, imported as an image."""
    name = f"{IMAGE}-base:{hashlib.sha256(repr(mirrors).encode()).hexdigest()[:12]}"
    if has_image(name):
        return name
    if "Debian" not in mirrors:
        raise LabError("no registry answers and this machine's apt names no Debian mirror: make `docker pull debian:trixie` work")
    if shutil.which("mmdebstrap") is None:
        print("  installing mmdebstrap", file=sys.stderr)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "-qq", "update", env=environment)
        run("apt-get", "-qq", "install", "-y", "--no-install-recommends", "mmdebstrap", "debian-archive-keyring", env=environment)
    print(f"  bootstrapping Debian {SUITE} from the machine's own mirror (about 40 s)", file=sys.stderr)
    archive = folder / "base.tar"
    run("mmdebstrap", "--variant=minbase", "--include=ca-certificates,debian-archive-keyring", SUITE, str(archive), mirrors["Debian"])
    run("docker", "import", str(archive), name)
    return name


def build() -> str:
    """Name of the image of a lab host, built when its content changed."""
    mirrors = debian_mirrors()
    tag = image_tag(mirrors)
    if has_image(tag):
        return tag
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base = official_base() or bootstrapped_base(mirrors, folder)
        context = folder / "context"
        shutil.copytree(CONTEXT, context)
        (context / "sources").mkdir()
        (context / "certificates").mkdir()
        if mirrors:
            (context / "sources" / "lab.sources").write_text(apt_sources(mirrors))
        for path in local_certificates():
            shutil.copy(path, context / "certificates" / f"{path.stem}.crt")
        print("  building the host image", file=sys.stderr)
        # The classic builder: BuildKit needs a plugin that distribution packages do not bring.
        environment = os.environ | {"DOCKER_BUILDKIT": "0"}
        run("docker", "build", "--tag", tag, "--build-arg", f"BASE={base}", str(context), env=environment)
    return tag


if __name__ == "__main__":
    try:
        print(build())
    except LabError as error:
        sys.exit(f"image: {error}")

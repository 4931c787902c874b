"""Makes an apt repository of the archives that apt has downloaded, and forgets the lists of all of Debian.

apt and its Python module read every list for each task and host: an installation took 2.5 CPU-seconds with 70,000 packages, 0.9 with these.
What the repository lacks is found all the same: role packages fetches the lists when a package is not found.
Large archives are packed anew: each host unpacks them, and xz costs several times what zstd does.
"""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

ARCHIVES, LISTS, REPOSITORY = Path("/var/cache/apt/archives"), Path("/var/lib/apt/lists"), Path("/var/lib/obcms-lab-packages")
LARGE = 300_000


def pack(archive: Path, target: Path) -> None:
    """Move an archive; a large one with the same content, packed by zstd."""
    if archive.stat().st_size < LARGE:
        shutil.move(archive, target)
        return
    unpacked = Path("/tmp/unpacked")
    subprocess.run(["dpkg-deb", "--raw-extract", archive, unpacked], check=True)
    subprocess.run(["dpkg-deb", "-Zzstd", "-z1", "--build", unpacked, target], check=True)
    shutil.rmtree(unpacked)
    archive.unlink()


REPOSITORY.mkdir()
archives = {path.name for path in ARCHIVES.glob("*.deb")}
entries: dict[str, str] = {}
for path in sorted(LISTS.glob("*_Packages")):
    for entry in path.read_text().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Architecture): (.*)$", entry, re.MULTILINE))
        if fields:
            name = "{Package}_{Version}_{Architecture}.deb".format(**fields).replace(":", "%3a")
            if name in archives:
                entries[name] = re.sub(r"^(Filename|Size|MD5sum|SHA256): .*\n?", "", entry.strip(), flags=re.MULTILINE).strip()
    path.unlink()
if left := archives - set(entries):
    raise SystemExit(f"no list names {', '.join(sorted(left))}")
for name in archives:
    pack(ARCHIVES / name, REPOSITORY / name)
    content = (REPOSITORY / name).read_bytes()
    entries[name] += f"\nFilename: ./{name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}"
(REPOSITORY / "Packages").write_text("".join(f"{entry}\n\n" for entry in entries.values()))
source = f"Types: deb\nURIs: file:{REPOSITORY}\nSuites: ./\nTrusted: yes\n"
Path("/etc/apt/sources.list.d/00-downloaded.sources").write_text(source)

#!/usr/bin/env python3
"""Whether the files that bin/render shows, without reaching a host, are the files on the lab's hosts, byte for byte, with owner and mode."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

from report import PROJECT, Series, lab, on, write

sys.path.insert(0, str(PROJECT / "scripts"))
import render


def found(host: str, paths: list[str]) -> dict[str, tuple[str, str]]:
    """Path to (owner:group mode, SHA-256) of the files that the host has."""
    look = '[ -f "$f" ] && stat -Lc \'%U:%G %04a\' "$f" && sha256sum "$f"'
    text = on(host, "\n".join([f"while read -r f; do {look}; done <<'EOF'", *paths, "EOF", "true"])).splitlines()
    return {hashed.split(maxsplit=1)[1]: (owner, hashed.split()[0]) for owner, hashed in zip(text[::2], text[1::2], strict=True)}


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    differing = Series("files that differ", 0, "files")
    compared = 0
    # The real secrets, for the time of the comparison only: the folder is readable by this user alone.
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "render"
        differing.failures += render.render(PROJECT / "inventories" / "lab", output, {})
        for host in [h["name"] for h in lab.wanted_hosts()]:
            listed = [line.split(" ", 2) for line in (output / host / "files.txt").read_text().splitlines() if line]
            wanted = {}
            for owner, mode, path in listed:
                content = (output / host / "files" / path.lstrip("/")).read_bytes()
                wanted[path] = (f"{owner} {mode}", hashlib.sha256(content).hexdigest())
            there = found(host, list(wanted))
            compared += len(wanted)
            for path, (owner, content) in sorted(wanted.items()):
                if path not in there:
                    differing.failures.append(f"{host}: {path} is not there")
                elif there[path] != (owner, content):
                    what = "content" if there[path][1] != content else f"{there[path][0]} instead of {owner}"
                    differing.failures.append(f"{host}: {path}: {what}")
    differing.values.append(float(len(differing.failures)))
    return write("render_equals_lab", __doc__ or "", [differing], [f"{compared} files of {len(lab.wanted_hosts())} hosts compared."])


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Whether any generated secret is in the repository's history, in logs of a run at -vvv, in process lists, journals or world-readable files."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from report import PROJECT, Series, lab, on, write
from security.vault import patterns

DECOY = "a-value-that-was-never-a-secret-9876543210"
RUNS = (["site.yml"], ["playbooks/verify.yml"])
# Whatever was written since the image was made; its own files are older than any secret. Patterns come on standard input, so no list shows them.
READABLE = r"""
umask 077; cat > /run/leaks.patterns <<'EOF'
PATTERNS
EOF
echo 'DECOY' > /var/tmp/leaks-decoy; chmod 644 /var/tmp/leaks-decoy
echo 'password: DECOY' | systemd-cat -t leaks
find / -xdev \( -path /proc -o -path /sys -o -path /run/leaks.patterns \) -prune -o -type f -perm -o+r -newerct "$(cat /run/leaks.since)" -print0 |
  xargs -0 -r -n 200 grep -lFf /run/leaks.patterns 2>/dev/null | sed 's/^/file /'
journalctl --no-pager -o short | grep -Ff /run/leaks.patterns | cut -c1-60 | sed 's/^/journal /' | sort -u | head
rm -f /run/leaks.patterns /run/leaks.since /var/tmp/leaks-decoy
"""


def names(text: bytes, wanted: dict[str, list[bytes]]) -> list[str]:
    """Names of the secrets that are in a text."""
    return [name for name, values in wanted.items() if any(value in text for value in values)]


def history(wanted: dict[str, list[bytes]]) -> Iterable[str]:
    """Secrets in any version of any file, or in any message, of the repository."""
    listed = subprocess.run(["git", "rev-list", "--objects", "--all"], cwd=PROJECT, capture_output=True, check=True).stdout
    objects = b"\n".join(line.split()[0] for line in listed.splitlines())
    text = subprocess.run(["git", "cat-file", "--batch"], cwd=PROJECT, input=objects, capture_output=True, check=True).stdout
    yield from names(text, wanted)


class Watch:
    """Command lines of all processes: hosts of the lab share this machine's kernel, so that one place sees them all. Used as a context."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(process.read_bytes())
                except OSError:
                    continue

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def run(words: list[str]) -> bytes:
    """Everything that a run says at -vvv, on the screen and in its log; RuntimeError when it fails."""
    log = PROJECT / ".cache" / "leaks-run.log"
    log.unlink(missing_ok=True)
    environment = os.environ | {"ANSIBLE_LOG_PATH": str(log), "ANSIBLE_NOCOLOR": "1"}
    command = ["ansible-playbook", "-i", "inventories/lab", "-vvv", *words]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{words} failed: {done.stdout[-500:].decode()}")
    text = done.stdout + done.stderr + log.read_bytes()
    log.unlink()
    return text


def look(host: str, wanted: dict[str, list[bytes]], since: str) -> list[str]:
    """Where on a host a secret can be read by everybody, or is in the journal."""
    values = [value.decode() for each in wanted.values() for value in each] + [DECOY]
    script = f"echo '{since}' > /run/leaks.since; {READABLE.replace('PATTERNS', chr(10).join(values)).replace('DECOY', DECOY)}"
    return on(host, script, check=False, timeout=600).splitlines()


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    wanted = patterns()
    hosts = [host["name"] for host in lab.wanted_hosts()]
    made = subprocess.run(["docker", "images", "--format", "{{.CreatedAt}}", "obcms-lab-host"], capture_output=True, text=True, check=True).stdout
    since = min(re.findall(r"^\S+ \S+", made, re.MULTILINE))
    results = {
        what: Series(f"secrets in {what}", 0, "found") for what in ("the history", "logs at -vvv", "process lists", "readable files", "journals")
    }
    missed = Series("decoys that were not found", 0, "missed")
    results["the history"].failures += history(wanted)
    with Watch() as watch:
        decoy = subprocess.Popen(["sh", "-c", "sleep 2", DECOY])
        logs = b"".join(run(words) for words in RUNS)
        decoy.wait()
    results["logs at -vvv"].failures += names(logs, wanted)
    processes = b"\n".join(watch.seen)
    results["process lists"].failures += names(processes, wanted)
    unseen = int(DECOY.encode() not in processes)
    with ThreadPoolExecutor(2) as pool:
        for host, lines in zip(hosts, pool.map(lambda host: look(host, wanted, since), hosts), strict=True):
            decoys = [line for line in lines if line == "file /var/tmp/leaks-decoy" or (line.startswith("journal") and "leaks" in line)]
            unseen += 2 - min(len(decoys), 2)
            results["readable files"].failures += [f"{host}: {line[5:]}" for line in lines if line.startswith("file") and line not in decoys]
            results["journals"].failures += [f"{host}: {line[8:]}" for line in lines if line.startswith("journal") and line not in decoys]
    for series in results.values():
        series.values.append(float(len(series.failures)))
    missed.values.append(float(unseen))
    notes = [
        f"{len(wanted)} secrets, in clear and in base64. Logs: {', '.join(' '.join(words) for words in RUNS)} at -vvv, {len(logs) / 2**20:.0f} MB.",
        f"Process lists: {len(watch.seen)} different command lines of all hosts and the controller, looked at up to twenty times a second meanwhile.",
        f"Files: everything that everybody may read and that was written since the image was made, on {len(hosts)} hosts.",
        "The proof itself puts a made-up value into a process list, and into a file and the journal of each host, which it must find.",
    ]
    return write("leaks", __doc__ or "", [*results.values(), missed], notes)


if __name__ == "__main__":
    sys.exit(main())

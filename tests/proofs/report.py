"""What every proof shares: shells on the lab's hosts, figures, and the page in docs/proofs."""

from __future__ import annotations

import datetime
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(PROJECT / "lab"))
import hosts as hosts  # noqa: E402
import image as image  # noqa: E402
import lab as lab  # noqa: E402


def on(host: str, command: str, *, check: bool = True, timeout: float = 120) -> str:
    """Output of a shell command run as root on a lab host, over SSH; RuntimeError when it fails and `check` is set."""
    address = next(h["address"] for h in lab.wanted_hosts() if h["name"] == host)
    options = ["-i", str(hosts.KEY), "-o", f"UserKnownHostsFile={hosts.known_hosts(lab.project_name())}", "-o", "ConnectTimeout=5"]
    remote = ["ssh", *options, f"ops@{address}", "sudo", "-n", "bash", "-s"]
    done = subprocess.run(remote, input=command, capture_output=True, text=True, check=False, timeout=timeout)
    if check and done.returncode != 0:
        raise RuntimeError(f"{host}: {command[:80]}: exit status {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout.strip()


def container(host: str) -> str:
    """Name of a host's container."""
    return f"{lab.project_name()}-{host}"


def docker(*arguments: str) -> str:
    """Output of the Docker client; CalledProcessError when it fails."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def mounting(host: str, script: str) -> None:
    """Run a script inside a host with this machine's own rights, which mounting takes; RuntimeError with its last words when it fails."""
    pid = docker("inspect", "--format", "{{.State.Pid}}", container(host))
    done = subprocess.run(["nsenter", "-t", pid, "-m", "-p", "bash", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{host}: {done.stderr.strip()[-300:]}")


@dataclass
class Series:
    """Measured values of one question: seconds or counts, with the limit they are held to."""

    title: str
    limit: float
    unit: str = "s"
    values: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """True when there are values, none over the limit, and no failure."""
        return bool(self.values) and max(self.values) <= self.limit and not self.failures

    def row(self) -> str:
        """One line of the Markdown table."""
        if not self.values:
            return f"| {self.title} | {self.limit:g} {self.unit} | 0 | - | - | FAILED |"
        p50, worst = statistics.median(self.values), max(self.values)
        verdict = "passed" if self.passed else "FAILED"
        return f"| {self.title} | {self.limit:g} {self.unit} | {len(self.values)} | {p50:.1f} | {worst:.1f} | {verdict} |"


def machine() -> str:
    """Cores and memory of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB"


def write(name: str, question: str, series: Sequence[Series], notes: Sequence[str] = ()) -> int:
    """Write docs/proofs/NAME.md and print it; exit status 1 when a series failed."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip()
    today = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    command = " ".join([f"bin/prove {Path(sys.argv[0]).stem}", *sys.argv[1:]])
    lines = [f"# {name}", "", question, "", f"Commit {commit}, {machine()}, {today}. Repeat with `{command}`.", ""]
    lines += ["| what | limit | n | p50 | max | result |", "|---|---|---|---|---|---|", *(s.row() for s in series), ""]
    failures = [f"- {s.title}: {failure}" for s in series for failure in s.failures]
    lines += ["## Failures", "", *(failures or ["None."]), ""]
    lines += ["## Notes", "", *(f"- {note}" for note in notes), ""] if notes else []
    page = PROJECT / "docs" / "proofs" / f"{name}.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text("\n".join(lines).rstrip() + "\n")
    print(page.read_text())
    return 0 if all(s.passed for s in series) else 1

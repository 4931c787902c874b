#!/usr/bin/env python3
"""Whether the database goes back to exactly the moment asked for: a time (also across a failover), a wave's restore point, a label, a branch."""

from __future__ import annotations

import argparse
import datetime
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable

from backups.marked_rows import Row, begin, clean, end, kept, wrong
from failover import leader, sql
from report import PROJECT, Series, on, write
from rollout.steps import calm, reset, wave

KEPT = PROJECT / ".cache" / "point_in_time.json"
# What verify.yml asks of services that a restore does not touch; the whole of it runs after the last restore.
UNTOUCHED = "base,firewall,etcd,backup,redis,sentinel,haproxy,pgbouncer,celery,nginx,limits,keepalived,prometheus,alertmanager,grafana,rollout_mail"


def go_back(log: str, *words: str, whole: bool = False) -> float:
    """Run rollback.yml -e scope=database; seconds until it was done, RuntimeError with the end of its output when it failed."""
    words = ("scope=database", "confirm=obcms-lab", *words)
    command = [f"{PROJECT}/.venv/bin/ansible-playbook", "-i", "inventories/lab", "playbooks/rollback.yml"]
    command += [part for word in words for part in ("-e", word)] + ([] if whole else ["--skip-tags", f"{UNTOUCHED},file_backup"])
    started = time.monotonic()
    path = PROJECT / ".lab" / "logs" / f"{log}.log"
    with path.open("w") as sink:
        status = subprocess.run(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        raise RuntimeError(f"rollback.yml {' '.join(words)}: exit status {status}:\n" + "\n".join(path.read_text().splitlines()[-40:]))
    return time.monotonic() - started


def moment(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def stream(seconds: float, in_between: Callable[[], object] = lambda: None) -> list[Row]:
    """Rows written for so long, with something that happens in the middle."""
    begin()
    time.sleep(seconds / 2)
    in_between()
    time.sleep(seconds / 2)
    return end()


def somewhere(rows: list[Row], share: float = 0.1) -> float:
    """A random moment within the rows, not at their very ends."""
    first, last = rows[0].sent, rows[-1].acknowledged
    return random.uniform(first + share * (last - first), last - 0.05 * (last - first))


def to_a_time(log: str) -> tuple[float, list[str]]:
    rows = stream(16)
    at = somewhere(rows)
    seconds = go_back(log, f"target={moment(at)}")
    return seconds, wrong(rows, kept(), at)


def across_a_failover(log: str) -> tuple[float, list[str]]:
    """The leader's postmaster is killed in the middle; the moment is after that, so WAL of two timelines leads there."""
    rows = stream(30, lambda: [on(leader(), "kill -9 $(head -1 /var/lib/postgresql/17/obcms/postmaster.pid)"), None][1])
    at = somewhere(rows, share=0.75)
    seconds = go_back(log, f"target={moment(at)}")
    return seconds, wrong(rows, kept(), at)


def to_a_wave(log: str) -> tuple[float, list[str]]:
    """Wave 1 comes on board while rows are written; back to its restore point, organisations and rows after it are gone."""
    reset()
    calm()
    begin()
    time.sleep(5)
    before = time.time()
    done = wave(1, rollout_soak_minutes=0)
    after = time.time()
    rows = end()
    if done.status:
        return 0, [f"the wave failed: {done.end}"]
    text = on("backup1", "grep -ho 'before-wave-1-[0-9TZ]*' /var/lib/obcms/rollout/record.jsonl | tail -n 1")
    made = datetime.datetime.strptime(text.rsplit("-", 1)[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC).timestamp()
    seconds = go_back(log, "target=wave-1")
    # The name carries the second in which it was chosen; the point itself was made while the playbook reached the leader.
    found = wrong(rows, kept(), max(before, made), min(after, made + 30))
    there = int(sql("SELECT count(*) FROM accounts_organisation WHERE code IN ('MOH', 'MOLE', 'MAFAR')"))
    reset()
    return seconds, found + ([f"{there} organisations of the wave are there"] if there else [])


def to_a_label(log: str) -> tuple[float, list[str]]:
    begin()
    time.sleep(5)
    before, label = time.time(), f"proof-{int(time.time())}"
    on("backup1", f"obcms-backup take --label={label}", timeout=300)
    after = time.time()
    time.sleep(5)
    rows = end()
    seconds = go_back(log, f"label={label}")
    return seconds, wrong(rows, kept(), before, after)


def to_a_branch(log: str) -> tuple[float, list[str]]:
    """Back to a moment, then to a later one that the first restore had given up."""
    rows = stream(16)
    first = somewhere(rows[: len(rows) // 2])
    later = somewhere(rows[len(rows) // 2 :])
    seconds = go_back(log, f"target={moment(first)}")
    found = wrong(rows, kept(), first)
    seconds = go_back(log, f"target={moment(later)}")
    return seconds, found + wrong(rows, kept(), later)


KINDS: dict[str, Callable[[str], tuple[float, list[str]]]] = {
    "a random time": to_a_time,
    "a random time after a failover": across_a_failover,
    "the restore point of a wave": to_a_wave,
    "a label": to_a_label,
    "a time on a branch that a restore had given up": to_a_branch,
}


def order(times: int) -> list[str]:
    """Which kinds: every third crosses a failover, one each of the others at the end."""
    singles = list(KINDS)[2:]
    plain = max(times - len(singles), 0)
    return [list(KINDS)[1 if number % 3 == 1 else 0] for number in range(plain)] + singles[: times - plain]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10, help="how many restores (default: 10)")
    parser.add_argument("--stop-after", type=int, default=0, metavar="N", help="end after N restores; the next run goes on there")
    options = parser.parse_args()
    KEPT.parent.mkdir(exist_ok=True)
    done = json.loads(KEPT.read_text()) if KEPT.exists() else []
    plan = order(options.times)
    limit = min(len(plan), len(done) + options.stop_after) if options.stop_after else len(plan)
    for number, kind in list(enumerate(plan))[len(done) : limit]:
        try:
            seconds, problems = KINDS[kind](f"point_in_time-{number}")
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            seconds, problems = 0, [f"restore {number + 1}: {str(error)[-1500:]}"]
        done.append({"kind": kind, "seconds": seconds, "problems": problems})
        KEPT.write_text(json.dumps(done))
        print(f"{number + 1} of {len(plan)}, {kind}: {seconds:.0f} s, {'; '.join(problems) or 'exactly the rows from before are there'}", flush=True)
        if problems and not seconds:
            return 1
    if len(done) < len(plan):
        return 0
    clean()
    series = []
    for kind in KINDS:
        of_kind = [row for row in done if row["kind"] == kind]
        series.append(Series(f"back to {kind}, until the platform serves", 600, values=[row["seconds"] for row in of_kind if row["seconds"]]))
        series[-1].failures += [problem for row in of_kind for problem in row["problems"]]
    notes = [
        "Rows are written one after the other through web1's pooler, about 30 a second; after each restore every row that was acknowledged before "
        "the moment is there, and none that was sent after it.",
        "Time: from the command to the end of the playbook: page, restore, replicas copied, application ready, verify of what it touches.",
        "The wave's point: rows of the 30 s after the second that its name carries may be on either side; its organisations are gone.",
    ]
    KEPT.unlink()
    return write("point_in_time", __doc__ or "", [each for each in series if each.values or each.failures], notes)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Each kind of broken release on the lab, under load: the old version serves on, no host stays out, the lock is true, the next release works."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import http.client
import json
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failover import leader
from report import PROJECT, container, docker, machine, mounting, on
from rollout.steps import Run, calm, play, typed_ctrl_c

WEB = ("web1", "web2", "web3", "web4")
BALANCERS = ("lb1", "lb2")
ADDRESS, DOMAIN = "198.18.0.10", "obcms.lab.internal"
KEPT, PAGE = PROJECT / ".cache" / "broken_releases", PROJECT / "docs" / "proofs" / "broken_releases.md"
SOURCE = PROJECT / "lab" / "app"
# Shorter than by default, so that a case takes minutes: what is tried is what happens, not how long one waits for it.
SHORT: dict[str, Any] = {
    "release_ready_seconds": 20,
    "release_canary_seconds": 5,
    "release_migrate_retries": 2,
    "release_comparison": {"requests": 40, "p95_seconds": 10},
}
SIGINT_PHASES = {
    "preflight": "preflight : measure",
    "gates": "measure | Ask the application on every host",
    "prepare": "ship | Bring the archives",
    "migrate": "migrate | Migrate the database once",
    "canary": "switch | Move the host to the release",
    "watch": "watch | Watch",
    "workers": "switch | Move the worker to the release",
}


class Client:
    """A client of the balancer that never waits for an answer before it asks again; every answer that is not 200 or 302 is kept."""

    def __init__(self, rate: float = 20) -> None:
        self.rate, self.asked, self.slowest = rate, 0, 0.0
        self.bad: list[str] = []
        self.versions: dict[str, int] = {}
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Client:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        time.sleep(1)

    def _run(self) -> None:
        begin = time.monotonic()
        for number in range(10**9):
            if self.over.wait(max(0.0, begin + number / self.rate - time.monotonic())):
                return
            threading.Thread(target=self._ask, args=("/health/" if number % 10 == 0 else "/",), daemon=True).start()

    def _ask(self, path: str) -> None:
        begin = time.monotonic()
        connection = http.client.HTTPSConnection(DOMAIN, timeout=30)
        try:
            connection.sock = self.context.wrap_socket(socket.create_connection((ADDRESS, 443), 30), server_hostname=DOMAIN)
            connection.request("GET", path)
            answer = connection.getresponse()
            body, found = answer.read(), str(answer.status)
        except (OSError, http.client.HTTPException) as error:
            body, found = b"", f"{type(error).__name__}: {error}"
        finally:
            connection.close()
        with self.lock:
            self.asked += 1
            self.slowest = max(self.slowest, time.monotonic() - begin)
            if found not in ("200", "302"):
                self.bad.append(f"{path} {found}")
            elif path == "/health/":
                version = str(json.loads(body).get("version"))
                self.versions[version] = self.versions.get(version, 0) + 1


@dataclass
class Case:
    """A broken release: what is wrong with it, and the words in which the run must say so."""

    what: str
    says: tuple[str, ...]
    patch: Callable[[Path], None] | None = None
    make: Callable[[], object] = lambda: None
    end: Callable[[], object] = lambda: None
    extra: Callable[[Path], dict[str, Any]] = lambda _: {}
    at: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    # A run that was cut off keeps the lock, says so, and is taken up again.
    resumed: bool = False
    # A host that was lost while it changed is brought back by a rollback.
    rolled_back: bool = False


def before(path: str, code: str) -> Callable[[Path], None]:
    """Code at the top of a file."""

    def patch(source: Path) -> None:
        (source / path).write_text(code + (source / path).read_text())

    return patch


def edit(path: str, old: str, new: str) -> Callable[[Path], None]:
    def patch(source: Path) -> None:
        text = (source / path).read_text()
        if old not in text:
            raise RuntimeError(f"{path} has no {old!r} any more")
        (source / path).write_text(text.replace(old, new, 1))

    return patch


BROKEN = """import os


class Broken:
    def __init__(self, get_response):
        self.get_response, self.count, self.kept = get_response, 0, []

    def __call__(self, request):
        self.count += 1
BODY        return self.get_response(request)
"""
MIGRATION = """from django.db import migrations


class Migration(migrations.Migration):
    atomic = ATOMIC
    dependencies = [("work", "LAST")]
    operations = [OPERATIONS]
"""


def middleware(body: str) -> Callable[[Path], None]:
    """A release whose every request passes some more code; the probes do not."""
    code = BROKEN.replace("BODY", body)

    def patch(source: Path) -> None:
        (source / "obcms" / "broken.py").write_text(code)
        edit(
            "obcms/settings.py",
            '    "obcms.middleware.MetricsMiddleware",\n',
            '    "obcms.middleware.MetricsMiddleware",\n    "obcms.broken.Broken",\n',
        )(source)

    return patch


def migration(operations: str, atomic: bool = True) -> Callable[[Path], None]:
    """A release with one more migration of the application `work`."""

    def patch(source: Path) -> None:
        last = max(path.stem for path in (source / "work" / "migrations").glob("0*.py"))
        text = MIGRATION.replace("ATOMIC", str(atomic)).replace("LAST", last).replace("OPERATIONS", operations)
        (source / "work" / "migrations" / "0900_proof.py").write_text(text)

    return patch


def sql(statement: str) -> str:
    return on(leader(), f"sudo -u postgres psql -d obcms -Atqc {json.dumps(statement)}")


def hold_lock() -> None:
    on(leader(), "systemd-run --quiet --collect --unit=proof-lock --uid=postgres psql -d obcms -c "
       "'BEGIN; LOCK TABLE django_admin_log IN ACCESS SHARE MODE; SELECT pg_sleep(600)'")  # fmt: skip


def give_lock() -> None:
    on(leader(), "systemctl stop proof-lock.service", check=False)
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()")


def small_disk() -> None:
    """The place of the archives on web3 is a file system of one megabyte; the machine's disk stays as it is."""
    mounting("web3", "mount -t tmpfs -o size=1m tmpfs /opt/obcms/archives")


def whole_disk() -> None:
    on("web3", "umount /opt/obcms/archives", check=False)


def truncated(source: Path) -> dict[str, Any]:
    archive = source.parent / "source.tar"
    subprocess.run(["tar", "-cf", archive, "-C", source, "."], check=True)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    return {"release_source": {"type": "archive", "location": str(archive)}}


def repository(source: Path) -> dict[str, Any]:
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=proof", "-c", "user.email=proof@example.org", "commit", "-qm", "proof"]):
        subprocess.run(["git", *command], cwd=source, check=True, capture_output=True)
    return {"release_source": {"type": "git", "location": str(source)}}


def ctrl_c(process: subprocess.Popen[str]) -> None:
    """A moment later, so that the step is under way."""
    time.sleep(1)
    typed_ctrl_c(process)


def pause(host: str) -> Callable[..., None]:
    def paused(_: object = None) -> None:
        time.sleep(1)
        docker("pause", container(host))

    return paused


LATE = (
    'import os\nif "rehearsal" not in os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""):\n    raise RuntimeError("proof: starts in rehearsals only")\n'
)
EARLY = 'raise RuntimeError("proof: this release does not start")\n'
LEAK = "        if self.count > 4:\n            self.kept.append(os.urandom(1024) * 150 * 1024)\n"
FAILING = "        if self.count % 20 == 0:\n            raise RuntimeError('proof: one request in twenty')\n"
CASES: dict[str, Case] = {
    "does_not_start": Case("does not start", ("gate start", "web1", "does not start"), before("obcms/wsgi.py", EARLY)),
    "starts_in_rehearsal_only": Case("does not start where it counts", ("gate start", "web1", "serves again"), before("obcms/wsgi.py", LATE)),
    "not_ready": Case("starts, but /ready/ is 503", ("gate ready", "web1", "503"), edit("obcms/probes.py", "= all(checks.values())", "= False")),
    "migration_half_way": Case("migration fails half-way", ("migrate", "division by zero"),
                               migration('migrations.RunSQL("CREATE TABLE proof_half (n int)"), migrations.RunSQL("SELECT 1/0")', atomic=False),
                               end=lambda: sql("DROP TABLE IF EXISTS proof_half")),
    "migration_waits": Case("migration waits for a lock for ever", ("migrate", "lock timeout"),
                            migration('migrations.RunSQL("ALTER TABLE django_admin_log ADD COLUMN proof int NULL")'), make=hold_lock, end=give_lock),
    "migration_incompatible": Case("migration that old code does not survive", ("work.0900_proof", "DROPPING", "release_confirm_incompatible"),
                                   migration('migrations.RunSQL("ALTER TABLE work_record DROP COLUMN title")')),
    "leak": Case("memory leak that kills the worker", ("web1", "killed"), middleware(LEAK), extra=lambda _: {"release_canary_seconds": 20}),
    "errors": Case("errors on 5 % of requests", ("errors_percent", "web1"), middleware(FAILING), extra=lambda _: {"release_canary_seconds": 45}),
    "archive_damaged": Case("archive damaged", ("build | Build",), extra=truncated),
    "version_not_there": Case("version not there", ("has no tag, branch or commit",), extra=repository),
    "disk_full": Case("disk full on one host", ("web3", "No space left"), make=small_disk, end=whole_disk),
    "host_unreachable": Case("one host unreachable", ("web4",), make=pause("web4"), end=lambda: docker("unpause", container("web4"))),
    "host_lost_meanwhile": Case("one host lost while it changes", ("web2",), at={"lb2 => (item=web2)": pause("web2")},
                                end=lambda: docker("unpause", container("web2")), rolled_back=True),
}  # fmt: skip
for name, words in SIGINT_PHASES.items():
    CASES[f"ctrl_c_{name}"] = Case(f"Ctrl-C in phase {name}", (), at={words: ctrl_c}, resumed=True)


def current() -> str:
    return on("web1", "basename $(readlink /opt/obcms/current)")


def lock() -> list[dict[str, Any]]:
    """Locks that keepers hold."""
    texts = [on(host, "cat /var/lib/obcms/changes/lock.json 2>/dev/null || true") for host in ("db1", "db2", "db3")]
    return [json.loads(text) for text in texts if text]


def standing(version: str, problems: list[str], strict: bool) -> None:
    """Every host serves, with the version, and the balancers use each."""
    deadline = time.monotonic() + 90
    while True:
        found = []
        for host in WEB:
            said = on(host, "systemctl is-active obcms.socket obcms.service | tr '\\n' ' '; basename $(readlink /opt/obcms/current); "
                      "basename $(readlink /proc/$(systemctl show -p MainPID --value obcms.service)/cwd)", check=False).split()  # fmt: skip
            wanted = ["active", "active", version, version] if strict else ["active", "active"]
            if said[: len(wanted)] != wanted:
                found.append(f"{host}: {' '.join(said)}")
        used = set()
        for balancer in BALANCERS:
            used |= set(
                on(
                    balancer, 'tail -n 400 /var/log/nginx/access.log | grep -o \'"upstream":"[^"]*"\' | grep -o \'198[0-9.]*\' | sort -u', check=False
                ).split()
            )
        left_out = [host for host, address in zip(WEB, (f"198.18.0.{n}" for n in range(21, 25)), strict=True) if address not in used]
        found += [f"{host} gets no requests from the balancers" for host in left_out]
        if not found or time.monotonic() > deadline:
            problems += found
            return
        time.sleep(3)


def good(version: str) -> Run:
    """The next good release."""
    return play("deploy", app_version=version, reason="proof: the next good release", release_canary_seconds=0, release_watch_seconds=0)


def prove(name: str, case: Case) -> dict[str, Any]:
    stamp = f"{datetime.datetime.now(datetime.UTC):%H%M%S}"
    before, version, problems = current(), f"9.{stamp}", []
    place = Path(tempfile.mkdtemp(prefix="broken-"))
    source = place / "app"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    if case.patch:
        case.patch(source)
    extra = {**SHORT, "release_source": {"type": "directory", "location": str(source)}, **case.extra(source)}
    begin = time.monotonic()
    with Client() as client:
        try:
            case.make()
            run = play("deploy", case.at, app_version=version, reason=f"proof: {case.what}", **extra)
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):
                case.end()
        seconds, during = time.monotonic() - begin, len(client.bad)
        if run.status == 0:
            problems.append("the run did not fail")
        problems += [f"the run does not say {word!r}" for word in case.says if word not in run.words]
        held = lock()
        if case.resumed and name != "ctrl_c_preflight":
            told = play("deploy", app_version=f"{version}-other", **SHORT).words if held else ""
            if not held or f"under way is deploy {version}, started by" not in told:
                problems.append(f"the lock does not say what is under way: {held}")
            standing(before, problems, strict=False)
        elif case.rolled_back:
            back = play("rollback", scope="release", app_version=before)
            problems += [f"the rollback failed: {back.words[-300:]}"] if back.status else []
            standing(before, problems, strict=True)
        else:
            problems += [f"the lock is held: {held}"] if held else []
            standing(before, problems, strict=True)
        after = len(client.bad)
        time.sleep(5)
        problems += [f"afterwards: {text}" for text in client.bad[after:]]
        if case.resumed and held:
            # Taken up again, the release itself is the next good one.
            wanted = version
            following = play("deploy", app_version=version, resume=True, reason="proof", **extra)
        else:
            wanted = f"1.{stamp}"
            following = good(wanted)
        problems += [f"the next good release failed: {following.words[-400:]}"] if following.status else []
        standing(wanted, problems, strict=True)
    problems += ["the lock is held after the next good release"] if lock() else []
    shutil.rmtree(place, ignore_errors=True)
    (KEPT / f"{name}.log").write_text(run.text)
    return {"problems": problems, "said": verdict(run), "seconds": seconds, "asked": client.asked, "bad": during, "bad_all": len(client.bad),
            "kinds": sorted(set(client.bad))[:5], "slowest": round(client.slowest, 1), "next": following.seconds}  # fmt: skip


def verdict(run: Run) -> str:
    """The line with which the run ended."""
    if "User interrupted execution" in run.text:
        return "cut off"
    for line in reversed(run.text.splitlines()):
        # What to do next is told last.
        if line.strip().startswith("Mend "):
            continue
        if " gate " in line or "does not start" in line or "is refused" in line or "stopped in phase" in line or "cannot be reached" in line:
            return line.strip().removeprefix("msg: ").lstrip("- '")[:160]
    return "cut off" if run.status else "done"


HEAD = ("release", "what the run said", "its seconds", "requests", "bad while it ran", "bad in all", "slowest", "commit, date", "result")


def page() -> str:
    kept = {path.stem: json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))}
    repeat = "Repeat with `bin/prove broken_releases [--only NAME ...]`"
    load = "A client asks the balancer 20 times a second all the while, each time on a new connection."
    lines = ["# broken_releases", "", (__doc__ or "").strip(), "", f"{machine()}. {repeat}. {load}", ""]
    lines += [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    failures = []
    for name, case in CASES.items():
        row = kept.get(name)
        if not row:
            lines.append(f"| {case.what} | not run{' | -' * (len(HEAD) - 2)} |")
            continue
        cells = [
            case.what,
            str(row["said"]).replace("|", "/"),
            f"{row['seconds']:.0f}",
            row["asked"],
            row["bad"],
            row["bad_all"],
            f"{row['slowest']} s",
        ]
        lines.append(f"| {' | '.join(map(str, [*cells, row['when'], 'FAILED' if row['problems'] else 'passed']))} |")
        failures += [f"- {case.what}: {problem}" for problem in row["problems"]]
        failures += [f"- {case.what}: bad answers: {', '.join(row['kinds'])}"] if row["kinds"] else []
    passed, missing = sum(not kept[name]["problems"] for name in CASES if name in kept), sum(name not in kept for name in CASES)
    closing = [f"{passed} of {len(CASES)} passed, {missing} not run.", "", "## Failures and bad answers", "", *(failures or ["None."]), ""]
    return "\n".join([*lines, "", *closing])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=CASES, help=f"these only: {', '.join(CASES)}")
    options = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False).stdout.strip()
    failed = 0
    for name in options.only or list(CASES):
        calm()
        row = prove(name, CASES[name])
        failed += bool(row["problems"])
        print(f"{name}: {row['said']}; {row['problems'] or 'passed'}; {row['bad_all']} of {row['asked']} bad; {row['seconds']:.0f} s", flush=True)
        when = f"{commit}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"
        (KEPT / f"{name}.json").write_text(json.dumps(row | {"when": when}))
        PAGE.write_text(page())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

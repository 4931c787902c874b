#!/usr/bin/env python3
"""Asks the platform at a constant rate, whatever it answers (an open loop), and shows every request that failed.

  bin/loadtest                                     the lab for a minute, pages that need no account
  bin/loadtest --accounts FILE --rate 40 --seconds 600 --json load.json

Requests leave at fixed times and never wait for an answer, so a platform that stands still is not asked less; the time of an answer counts from
the moment its request was due. Certificates are checked against the platform's authority. Nothing is asked twice: what a browser would
silently repeat is a failure here. Interrupted (Ctrl-C, SIGTERM) it waits for the answers under way and reports.

Exit status: 0, 1 when a request failed, 2 on nonsense input.
"""

from __future__ import annotations

import locust  # isort: skip  # first of all: makes sockets cooperative
import argparse  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import IO, Any  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.pool import Group  # noqa: E402
from locust import env, runners

PROJECT = Path(__file__).resolve().parents[1]
from loadtest_client import Client, Failed, Target  # noqa: E402
from loadtest_mix import Account, Kind, log_in, member_mix, stream, visitor_mix  # noqa: E402

# An answer that takes longer than a client waits has failed by itself; streams end after 20 s in the reference application.
GRACE_SECONDS = 40.0
STREAM = "GET stream, open all the time"


@dataclass
class Run:
    """The requests of one run: who is under way, what failed."""

    environment: env.Environment
    errors: IO[str] | None
    flights: Group = field(default_factory=Group)
    failures: list[dict[str, Any]] = field(default_factory=list)
    longest: dict[str, float] = field(default_factory=dict)
    # How late the client itself was: its own shortage of CPU, which counts into the answers' times.
    lag: float = 0.0
    over: Event = field(default_factory=Event)

    def ask(self, kind: Kind, due: float) -> None:
        """One request; its time counts from when it was due."""
        failed: Failed | None = None
        self.lag = max(self.lag, time.monotonic() - due)
        try:
            kind.ask()
        except Failed as failure:
            failed = failure
        except Exception as error:  # a bug of the client must not look like a request that was answered
            failed = Failed("client", f"{type(error).__name__}: {error}")
        seconds = time.monotonic() - due
        self.longest[kind.name] = max(self.longest.get(kind.name, 0.0), seconds)
        method, _, name = kind.name.partition(" ")
        self.environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type=method, name=name, response_time=seconds * 1000, response_length=0, exception=failed, context={}
        )
        if failed:
            self.note(kind, failed, seconds)

    def note(self, kind: Kind, failed: Failed, seconds: float) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = {"at": at, "request": kind.name, "kind": failed.kind, "seconds": round(seconds, 3), "what": str(failed)[:300]}
        self.failures.append(row)
        print(f"FAILED {row['at']} {row['request']}: {row['kind']} after {row['seconds']} s: {row['what']}", file=sys.stderr, flush=True)
        if self.errors:
            self.errors.write(json.dumps(row) + "\n")
            self.errors.flush()

    def arrivals(self, kind: Kind, every: float, offset: float) -> None:
        """Requests of one kind at fixed times, each in a greenlet of its own."""
        due = time.monotonic() + offset
        while not self.over.is_set():
            gevent.sleep(max(0.0, due - time.monotonic()))
            if not self.over.is_set():
                self.flights.start(gevent.Greenlet(self.ask, kind, due))
            due += every

    def reopened(self, kind: Kind) -> None:
        """A stream that is asked for again as soon as it has ended."""
        while not self.over.is_set():
            flight = gevent.Greenlet(self.ask, kind, time.monotonic())
            self.flights.start(flight)
            flight.join()
            # A browser waits too; and a stream whose seat was taken ends at once.
            gevent.sleep(1)


def users(run: Run, kinds: Sequence[Kind], rate: float, streams: Sequence[Kind]) -> list[type[locust.User]]:
    """One Locust user for each kind of request, which makes its arrivals, and one for each stream."""
    shares = sum(kind.share for kind in kinds)
    left = max(0.0, rate - sum(1 / kind.every for kind in kinds if kind.every))

    def one(number: int, work: Callable[[], None]) -> type[locust.User]:
        return type(f"Arrivals{number}", (locust.User,), {"fixed_count": 1, "tasks": [lambda _: work()]})

    made = []
    for number, kind in enumerate(kinds):
        every = kind.every or shares / (left * kind.share)
        made.append(one(number, lambda kind=kind, every=every, number=number: run.arrivals(kind, every, every * number / len(kinds))))  # type: ignore[misc]
    return made + [one(len(kinds) + number, lambda kind=kind: run.reopened(kind)) for number, kind in enumerate(streams)]  # type: ignore[misc]


def report(run: Run, seconds: float) -> dict[str, Any]:
    """What was measured, for programs."""
    total = run.environment.stats.total
    return {
        "seconds": round(seconds, 1),
        "requests": total.num_requests,
        "failures": len(run.failures),
        "failures_by_kind": dict(Counter(row["kind"] for row in run.failures)),
        "longest_seconds": round(max((time for name, time in run.longest.items() if name != STREAM), default=0.0), 3),
        "client_lag_seconds": round(run.lag, 3),
        "kinds": [
            {
                "kind": f"{entry.method} {entry.name}",
                "requests": entry.num_requests,
                "failures": entry.num_failures,
                "p50_seconds": round(entry.get_response_time_percentile(0.5) / 1000, 3),
                "p99_seconds": round(entry.get_response_time_percentile(0.99) / 1000, 3),
                "longest_seconds": round(run.longest[f"{entry.method} {entry.name}"], 3),
            }
            for entry in sorted(run.environment.stats.entries.values(), key=lambda entry: (entry.name, entry.method))
        ],
        "errors": run.failures,
    }


def table(found: dict[str, Any]) -> str:
    """What was measured, for people."""
    lines = [f"{'request':<34}{'asked':>9}{'failed':>9}{'p50 s':>9}{'p99 s':>9}{'longest s':>11}"]
    lines += [
        f"{row['kind']:<34}{row['requests']:>9}{row['failures']:>9}{row['p50_seconds']:>9.3f}{row['p99_seconds']:>9.3f}{row['longest_seconds']:>11.3f}"
        for row in found["kinds"]
    ]
    kinds = ", ".join(f"{count} x {kind}" for kind, count in found["failures_by_kind"].items()) or "none"
    rate = found["requests"] / max(1.0, found["seconds"])
    return "\n".join(
        [
            *lines,
            "",
            f"{found['requests']} requests in {found['seconds']:.0f} s ({rate:.1f} per second), failures: {kinds}; longest answer "
            f"{found['longest_seconds']:.3f} s (streams left out), client late by {found['client_lag_seconds']:.3f} s at most",
        ]
    )


def settings_of(inventory: str) -> tuple[str, str, str]:
    """Name, address and authority of the platform in an inventory; SystemExit where it has none."""
    command = [sys.executable, str(PROJECT / "scripts" / "loadtest_target.py"), inventory]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(2)
    found = json.loads(done.stdout)
    return found["url"], found["address"], found["authority"]


def options_of(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/loadtest", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inventory", nargs="?", default="inventories/lab", help="whose balancers are asked (default: inventories/lab)")
    parser.add_argument("--url", help="ask this instead of an inventory's platform, for example http://127.0.0.1:8080")
    parser.add_argument("--address", help="address to connect to, whatever the name leads to")
    parser.add_argument("--ca", type=Path, help="file with the authority that signed the certificate")
    parser.add_argument("--rate", type=float, default=20.0, help="requests per second (default: 20)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long; 0: until interrupted (default: 60)")
    parser.add_argument("--timeout", type=float, default=15.0, help="seconds after which an answer is no longer waited for (default: 15)")
    parser.add_argument("--accounts", type=Path, help='members of the platform, as JSON: [{"username": ..., "password": ...}]')
    parser.add_argument("--streams", type=int, default=2, help="event streams kept open, with --accounts (default: 2)")
    parser.add_argument("--paths", nargs="+", default=["/health/", "/ready/"], help="pages asked for without --accounts (default: /health/ /ready/)")
    parser.add_argument("--json", type=Path, help="write what was measured into this file")
    parser.add_argument("--errors", type=Path, help="write each failure into this file when it happens")
    options = parser.parse_args(argv)
    if options.rate <= 0 or options.rate > 1000:
        parser.error(f"--rate is {options.rate:g}; more than 0 and at most 1000 requests per second")
    if options.accounts and not options.accounts.is_file():
        parser.error(f"--accounts: there is no file {options.accounts}")
    return options


def main(argv: Sequence[str]) -> int:
    options = options_of(argv)
    url, address, authority = (options.url, "", "") if options.url else settings_of(options.inventory)
    target = Target(url.rstrip("/"), options.address or address, options.ca.read_text() if options.ca else authority, options.timeout)
    client = Client(target)
    environment = env.Environment(user_classes=[])
    run = Run(environment, options.errors.open("a") if options.errors else None)
    streams: list[Kind] = []
    if options.accounts:
        accounts = [Account(**row) for row in json.loads(options.accounts.read_text())]
        for account in accounts:
            log_in(client, account, gevent.sleep)
        kinds = member_mix(client, accounts)
        streams = [Kind(STREAM, lambda: stream(client, accounts[0]))] * options.streams
    else:
        kinds = visitor_mix(client, options.paths)
    environment.user_classes = users(run, kinds, options.rate, streams)
    for name in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(name, run.over.set)
    runner: runners.LocalRunner = environment.create_local_runner()
    begin = time.monotonic()
    runner.start(len(environment.user_classes), spawn_rate=100)
    print(f"asking {target.url} at {target.address or 'its address'}, {options.rate:g} requests per second", file=sys.stderr, flush=True)
    run.over.wait(options.seconds or None)
    run.over.set()
    run.flights.join(GRACE_SECONDS)
    runner.quit()
    found = report(run, time.monotonic() - begin)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    return 1 if found["failures"] or not found["requests"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

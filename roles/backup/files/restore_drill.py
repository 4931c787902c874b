#!/usr/bin/python3
"""Restores the newest backup and its WAL to an instance of its own on this host, checks it, compares it with the leader, and removes it again.

Run by obcms-restore-drill.timer; by hand: systemctl start obcms-restore-drill, then journalctl -u obcms-restore-drill.
Nothing reaches this instance but a socket in its own directory, and nothing of it reaches the repository.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from backup_repository import BackupError, Settings, backups, exposition, gauge, pgbackrest, remember, remembered, write

HERE = "--config=/etc/pgbackrest/here.conf"
LOCK_TRIES, LOCK_PAUSE = 5, 5
# The copy needs room for itself and for what recovery writes.
ROOM = 1.2
# What makes the same row the same text, and lets no limit of a role end a long look.
SAME_TEXT = "SET statement_timeout = 0; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1; SET bytea_output = 'hex';"
TABLES = """SELECT format('%I.%I', nspname, relname), pg_table_size(c.oid) / 1048576 FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND relpersistence = 'p' AND nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"""
CHECKSUM = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {table} t"
SERVER = """listen_addresses = ''
unix_socket_directories = '{scratch}'
port = 5432
hba_file = '{scratch}/pg_hba.conf'
ident_file = '{scratch}/pg_ident.conf'
archive_mode = off
hot_standby = off
shared_buffers = 32MB
maintenance_work_mem = 32MB
max_connections = 20
shared_preload_libraries = ''
autovacuum = off
jit = off
# Thrown away afterwards: nothing needs to survive a crash.
fsync = off
full_page_writes = off
log_destination = stderr
logging_collector = off
"""


@dataclass
class Report:
    """What a drill found."""

    at: float
    ok: bool = False
    message: str = "cut off"
    backup: str = ""
    backup_stop: float = 0
    database_bytes: float = 0
    restore_seconds: float = 0
    data_age_seconds: float = 0
    tables: int = 0
    rows: int = 0
    seconds: float = 0
    left_out: list[str] = field(default_factory=list)


class Session:
    """One connection of psql that is asked one thing after the other."""

    DONE = "-- done --"

    def __init__(self, conninfo: str) -> None:
        command = ["psql", "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", conninfo]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ask(self, statement: str) -> list[list[str]]:
        """Rows of the answer; BackupError with PostgreSQL's words when there is none."""
        sending, receiving = self._process.stdin, self._process.stdout
        assert sending is not None
        assert receiving is not None
        try:
            sending.write(f"{statement};\n\\echo {self.DONE}\n")
            sending.flush()
        except BrokenPipeError:
            pass  # psql has ended; its last words are read below
        lines: list[str] = []
        for line in receiving:
            if line.rstrip("\n") == self.DONE:
                return [row.split("\t") for row in lines]
            lines.append(line.rstrip("\n"))
        raise BackupError(" ".join(" ".join(lines).split()) or "psql ended without a word")

    def close(self) -> None:
        try:
            self._process.communicate(timeout=5)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()


def chosen_tables(rows: Sequence[Sequence[str]], patterns: Sequence[str], max_mb: int) -> tuple[list[str], list[str]]:
    """Tables to compare, and those that are meant but too large."""
    meant = [(name, int(size)) for name, size in rows if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    return [name for name, size in meant if size <= max_mb], [name for name, size in meant if size > max_mb]


def figures(session: Session, tables: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Rows and checksum of each table."""
    found = {}
    for table in tables:
        count, checksum = session.ask(CHECKSUM.format(table=table))[0]
        found[table] = (int(count), checksum)
    return found


def differences(source: Mapping[str, tuple[int, str]], copy: Mapping[str, tuple[int, str]]) -> list[str]:
    """Where source and copy differ, in words."""
    found = []
    for table, (count, checksum) in source.items():
        there = copy.get(table)
        if there is None:
            found.append(f"{table} is missing in the copy")
        elif there[0] != count:
            found.append(f"{table} has {count} rows on the leader and {there[0]} in the copy")
        elif there[1] != checksum:
            found.append(f"{table} has {count} rows on both, but different content")
    return found


def mark(settings: Settings, name: str, report: Report) -> tuple[str, float, dict[str, tuple[int, str]]]:
    """Name a point in time on the leader; its WAL segment, when that was, and the figures of the marked tables at exactly that point.

    Writers are held off for the moment in which the point gets its name and the snapshot is taken, so no row can be on one side only.
    """
    locker, reader = Session(settings.conninfo), Session(settings.conninfo)
    try:
        tables, report.left_out = chosen_tables(locker.ask(TABLES), settings.marked_tables, settings.marked_max_mb)
        reader.ask(SAME_TEXT)
        for tried in range(1, LOCK_TRIES + 1):
            try:
                locker.ask("BEGIN; SET LOCAL lock_timeout = '2s'" + (f"; LOCK TABLE {', '.join(tables)} IN SHARE MODE" if tables else ""))
                break
            except BackupError as error:
                if "lock timeout" not in str(error) or tried == LOCK_TRIES:
                    raise
                locker.close()
                time.sleep(LOCK_PAUSE)
                locker = Session(settings.conninfo)
        segment = locker.ask(f"SELECT pg_walfile_name(pg_create_restore_point('{name}'))")[0][0]
        when = time.time()
        reader.ask("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        locker.ask("COMMIT")
        return segment, when, figures(reader, tables)
    except BackupError as error:
        raise BackupError(f"the leader could not be asked for a point to restore to: {error}") from error
    finally:
        locker.close()
        reader.close()


def arrival(settings: Settings, segment: str) -> float | None:
    """When the segment (on whatever timeline) reached the repository."""
    # pgBackRest's archive: STANZA/VERSION-NUMBER/TIMELINE+LOG/SEGMENT-CHECKSUM.zst; a segment name is three times eight digits.
    places = Path(settings.repository, "archive", settings.stanza).glob(f"*/????????{segment[8:16]}/????????{segment[8:]}-*")
    return min((path.stat().st_mtime for path in places), default=None)


def wait_for_archive(settings: Settings, segment: str) -> float:
    """Wait until the segment is in the repository, without hurrying it: the time this takes is what a loss of all database hosts would cost."""
    end = time.monotonic() + settings.archive_seconds
    while time.monotonic() < end:
        when = arrival(settings, segment)
        if when is not None:
            return when
        time.sleep(0.5)
    raise BackupError(
        f"WAL segment {segment} did not reach the repository within {settings.archive_seconds} s; "
        "look on the leader: journalctl -u patroni | grep -i archiv (alert WalArchivingFails)"
    )


def damaged_files(output: str) -> list[str]:
    """Files that pgBackRest's `verify` complains about."""
    return re.findall(r"(?:invalid checksum|invalid size|missing file|invalid file|unable to read|invalid result) '?([^\s':]+)", output)


def recovery_problem(log: str) -> str:
    """Why a copy did not come up, from its log: the WAL segment that is damaged or missing where it is one."""
    fix = "; take a full backup now (obcms-backup take --type=full)"
    damaged = re.findall(r"unable to get ([0-9A-F]{24})", log)
    if damaged:
        return f"WAL segment {damaged[-1]} is damaged in the repository: what came after it is lost{fix}"
    restored = re.findall(r'restored log file "([0-9A-F]{24})"', log)
    if "recovery ended before configured recovery target" in log:
        last = restored[-1] if restored else "none"
        return f"WAL in the repository ends with segment {last}: that one is damaged, or the next is missing{fix}"
    return " ".join([line for line in log.splitlines() if re.search("FATAL|PANIC|ERROR", line) and "accepting connections" not in line][-3:])


def restore(settings: Settings, backup: str, *aim: str) -> None:
    """Put the backup into the scratch directory, ready to recover to what pgBackRest's options aim at."""
    scratch = Path(settings.scratch)
    (scratch / "data").mkdir(mode=0o700)
    options = [HERE, f"--stanza={settings.stanza}", f"--set={backup}", *aim, "--archive-mode=off", f"--tablespace-map-all={scratch}/tablespaces"]
    pgbackrest(*options, "restore")
    (scratch / "postgresql.conf").write_text(SERVER.format(scratch=scratch))
    (scratch / "pg_hba.conf").write_text("local all all trust\n")
    (scratch / "pg_ident.conf").write_text("")


def start(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the copy and wait until it has recovered to its target."""
    scratch = Path(settings.scratch)
    log = scratch / "postgres.log"
    command = [f"{settings.binaries}/postgres", "-D", f"{scratch}/data", "-c", f"config_file={scratch}/postgresql.conf"]
    with log.open("wb") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    end = time.monotonic() + settings.start_seconds
    ready = [f"{settings.binaries}/pg_isready", "-q", "-h", str(scratch)]
    while subprocess.run(ready, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > end:
            stop(server)
            why = recovery_problem(log.read_text(errors="replace")) or f"it had not recovered after {settings.start_seconds} s"
            raise BackupError(f"the restored database does not start: {why}")
        time.sleep(0.2)
    return server


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the copy; SIGQUIT is PostgreSQL's immediate stop."""
    if server.poll() is None:
        server.send_signal(3)
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def check_pages(settings: Settings) -> None:
    """Have amcheck read every table and every index; reading a page checks its checksum."""
    options = ["-h", settings.scratch, "-U", "postgres", "--all", "--install-missing", "--heapallindexed", "--jobs=2"]
    done = subprocess.run([f"{settings.binaries}/pg_amcheck", *options], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BackupError(f"amcheck finds damage in the restored database: {' '.join((done.stdout + done.stderr).split())[:500]}")


def explained(settings: Settings, backup: str, error: BackupError) -> BackupError:
    """The error, with the names of damaged files of the repository where there are any."""
    wordy = ["--output=text", "--verbose", "--log-level-console=info"]
    try:
        report = pgbackrest(HERE, f"--stanza={settings.stanza}", f"--set={backup}", *wordy, "verify")
    except BackupError as failed:
        report = str(failed)
    files = damaged_files(report)
    if not files:
        return error
    return BackupError(
        f"damaged in the repository: {', '.join(sorted(set(files))[:5])}; take a full backup now (obcms-backup take --type=full), "
        f"then look for a broken disk. The restore said: {error}"
    )


def drill(settings: Settings, report: Report) -> None:
    """The drill itself; fills the report and raises BackupError at the first thing that is wrong."""
    found = backups(settings)
    if not found:
        raise BackupError("there is no backup yet; take one: obcms-backup take")
    newest = found[-1]
    report.backup, report.backup_stop, report.database_bytes = newest.label, newest.stop, newest.size
    room = shutil.disk_usage(settings.scratch).free
    if room < newest.size * ROOM:
        needed = newest.size * ROOM / 1e9
        raise BackupError(f"{settings.scratch} has room for {room / 1e9:.1f} GB, but the restored database needs {needed:.1f} GB; make room")
    name = time.strftime("drill-%Y%m%dT%H%M%SZ", time.gmtime())
    segment, marked, source = mark(settings, name, report)
    report.data_age_seconds = max(wait_for_archive(settings, segment) - marked, 0)
    began = time.monotonic()
    try:
        restore(settings, newest.label, "--type=name", f"--target={name}", "--target-action=promote")
    except BackupError as error:
        raise explained(settings, newest.label, error) from error
    server = start(settings)
    try:
        report.restore_seconds = time.monotonic() - began
        copy = Session(f"host={settings.scratch} user=postgres dbname={settings.database}")
        copy.ask(SAME_TEXT)
        present = {row[0] for row in copy.ask(TABLES)}
        wrong = differences(source, figures(copy, [table for table in source if table in present]))
        copy.close()
        if wrong:
            raise BackupError(f"the restored database is not what the leader had: {'; '.join(wrong[:5])}")
        check_pages(settings)
    finally:
        stop(server)
    report.tables, report.rows = len(source), sum(count for count, _ in source.values())


def clean(settings: Settings) -> None:
    """Remove everything that a drill leaves behind."""
    for path in Path(settings.scratch).iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def publish(settings: Settings, report: Report) -> None:
    """Write the metrics; figures of the last drill that passed stay when one fails."""
    remember(settings, "drill", asdict(report))
    if report.ok:
        remember(settings, "drill_passed", asdict(report))
    passed = remembered(settings, "drill_passed") or {"at": 0, "seconds": 0}
    name = "obcms_restore_drill"
    metrics = [
        gauge(f"{name}_last_run_timestamp_seconds", "When a drill last ended.", report.at + report.seconds),
        gauge(f"{name}_last_result", "1 when the last drill passed.", float(report.ok)),
        gauge(f"{name}_passed_timestamp_seconds", "When a drill last passed; 0 when none has.", passed["at"] + passed["seconds"]),
    ]
    if passed["at"]:
        metrics += [
            gauge(f"{name}_restore_seconds", "Time from the start of the restore to a database that answers.", passed["restore_seconds"]),
            gauge(f"{name}_data_age_seconds", "What the loss of all database hosts would have cost.", passed["data_age_seconds"]),
            gauge(f"{name}_database_bytes", "Size of the restored database.", passed["database_bytes"]),
            gauge("obcms_backup_restored_stop_timestamp_seconds", "When the backup that passed the drill ended.", passed["backup_stop"]),
        ]
    write(Path(settings.metrics) / "restore_drill.prom", exposition(metrics))


def main() -> int:
    try:
        settings = Settings.load()
    except BackupError as error:
        print(f"restore drill: {error}", file=sys.stderr)
        return 1
    report = Report(at=time.time())
    clean(settings)
    try:
        drill(settings, report)
        report.ok = True
        report.message = (
            f"{report.backup} ({report.database_bytes / 1e6:.0f} MB) restored in {report.restore_seconds:.0f} s, {report.tables} tables with "
            f"{report.rows} rows are as on the leader, pages and indexes are whole; data age {report.data_age_seconds:.0f} s"
        )
    except (BackupError, OSError) as error:
        report.message = str(error)
    finally:
        report.seconds = time.time() - report.at
        clean(settings)
        publish(settings, report)
    print(f"restore drill: {'passed' if report.ok else 'FAILED'}: {report.message}", file=sys.stdout if report.ok else sys.stderr)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())

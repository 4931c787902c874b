"""What the programs of the backup host share: settings, pgBackRest, and metrics for the node exporter."""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/obcms/backup.json")
# pgBackRest's codes of a stanza that `info` gives (user guide, information): 0 is good, 2 has no backup yet.
GOOD, NO_BACKUP = 0, 2


class BackupError(RuntimeError):
    """What is wrong, in words for the person on call."""


@dataclass(frozen=True)
class Settings:
    """Settings of the backup host, rendered by role backup."""

    stanza: str
    repository: str
    own: int
    offsite: int
    scratch: str
    state: str
    metrics: str
    full_days: int
    conninfo: str
    binaries: str
    database: str
    marked_tables: Sequence[str]
    marked_max_mb: int
    archive_seconds: int
    start_seconds: int

    @property
    def repositories(self) -> dict[int, str]:
        """Number and name of each repository that this host backs up to."""
        return {self.own: "here"} | ({self.offsite: "off-site"} if self.offsite else {})

    @classmethod
    def load(cls, path: Path = SETTINGS) -> Settings:
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise BackupError(f"{path} cannot be used ({error}); run site.yml with --tags backup") from error


@dataclass(frozen=True)
class Backup:
    """One backup in the repository."""

    label: str
    kind: str
    start: int
    stop: int
    size: int
    delta: int
    stored: int
    damaged_pages: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)
    where: str = "here"

    @property
    def when(self) -> str:
        return datetime.datetime.fromtimestamp(self.stop).astimezone().strftime("%Y-%m-%d %H:%M %Z")


def pgbackrest(*arguments: str, timeout: float | None = None) -> str:
    """Output of pgBackRest; BackupError with its own words when it fails."""
    try:
        done = subprocess.run(["pgbackrest", *arguments], capture_output=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise BackupError(f"pgbackrest {arguments[-1]} did not end within {timeout:.0f} s") from error
    # What a wrong key makes of a file is no text; parts of it are in pgBackRest's messages.
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise BackupError(reason(output + done.stderr.decode(errors="replace")) or f"pgbackrest {arguments[-1]} ended with status {done.returncode}")
    return output


def reason(output: str) -> str:
    """The error in pgBackRest's output, with the lines that belong to it, in one line."""
    lines = output.splitlines()
    starts = [number for number, line in enumerate(lines) if "ERROR:" in line]
    if not starts:
        return " ".join(output.split())[-400:]
    found = [lines[starts[-1]].split("ERROR:", 1)[1]]
    for line in lines[starts[-1] + 1 :]:
        if not line.startswith(" "):
            break
        found.append(line)
    # "... [ChecksumError] on 2 retries from 195-15354ms: ..." says the same twice.
    return hinted(re.split(r" \[\w+Error\] on \d+ retr", " ".join(" ".join(found).split()))[0][:500])


def hinted(message: str) -> str:
    """The message, and what to do where pgBackRest does not say it."""
    if re.search(r"CryptoError|cipher header|key/value found outside of section", message):
        return f"the repository cannot be read with this key: backup_cipher_password must be the one that it was made with ({printable(message)})"
    if "No space left" in message:
        return f"no room on the file system of the repository ({message})"
    return printable(message)


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() and letter != "\ufffd" else "?" for letter in text)


def parsed(stanzas: Sequence[Mapping[str, Any]], stanza: str, where: str = "here") -> list[Backup]:
    """Backups in the answer of `info`, oldest first; BackupError when the stanza itself is in trouble."""
    found = next((each for each in stanzas if each["name"] == stanza), None)
    if found is None:
        raise BackupError(f"the repository holds nothing of {stanza}; run site.yml with --tags backup, which creates it")
    status = found["status"]
    if status["code"] not in (GOOD, NO_BACKUP):
        words = [each["status"]["message"] for each in found.get("repo", ()) if each["status"]["code"] != GOOD] or [status["message"]]
        raise BackupError(hinted(f"the repository says of {stanza}: {' '.join(words[0].split())[:300]}"))
    return [
        Backup(
            label=each["label"],
            kind=each["type"],
            start=each["timestamp"]["start"],
            stop=each["timestamp"]["stop"],
            size=each["info"]["size"],
            delta=each["info"]["delta"],
            stored=each["info"]["repository"]["delta"],
            damaged_pages=bool(each.get("error")),
            notes=each.get("annotation") or {},
            where=where,
        )
        for each in found.get("backup", ())
    ]


def backups(settings: Settings, number: int = 0) -> list[Backup]:
    """Backups in one repository (the one on this host), oldest first."""
    number = number or settings.own
    answer = pgbackrest(f"--stanza={settings.stanza}", f"--repo={number}", "--output=json", "info", timeout=300)
    # Not strict: messages of pgBackRest inside may hold any byte.
    return parsed(json.JSONDecoder(strict=False).decode(answer), settings.stanza, settings.repositories[number])


@dataclass(frozen=True)
class Metric:
    """One gauge with its values, keyed by their labels."""

    name: str
    help: str
    values: Mapping[str, float]


def gauge(name: str, text: str, value: float) -> Metric:
    return Metric(name, text, {"": value})


def exposition(metrics: Sequence[Metric]) -> str:
    """Text for the node exporter's textfile collector."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} gauge"]
        lines += [f"{metric.name}{labels} {value:.15g}" for labels, value in metric.values.items()]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Replace a file in one step, readable for everybody."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(0o644)
    os.replace(scratch, path)


def remember(settings: Settings, name: str, values: Mapping[str, Any]) -> None:
    """Keep the outcome of the last run for metrics, verify.yml and people."""
    write(Path(settings.state) / f"{name}.json", json.dumps(values, indent=2, sort_keys=True) + "\n")


def remembered(settings: Settings, name: str) -> dict[str, Any]:
    """The outcome of the last run; empty when there was none."""
    try:
        values: dict[str, Any] = json.loads((Path(settings.state) / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values

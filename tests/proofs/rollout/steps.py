"""Steps of the rollout on the lab: run a playbook, ask where organisations stand, start from nothing."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pty
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import PROJECT, on

LAB = PROJECT / "inventories" / "lab"
RECORD = "/var/lib/obcms/rollout"
LOCK = "/var/lib/obcms/changes/lock.json"
KEEPERS = ("backup1", "mon1")
WAVES = range(1, 10)
# Organisations, and with them all accounts and what belongs to them; verify.yml makes the account of its smoke test again.
EMPTY = "DELETE FROM django_session; TRUNCATE accounts_organisation CASCADE;"
OPENED = """
import json, sys
from django.contrib.auth import get_user_model
found = json.load(sys.stdin)
users = {user.username: user for user in get_user_model().objects.filter(username__in=found)}
print(json.dumps([name for name, password in found.items() if name not in users or not users[name].check_password(password)]))
"""


@dataclass
class Run:
    """One playbook that ended."""

    status: int
    text: str
    seconds: float

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def end(self) -> str:
        """The last words before the recap: why it stopped."""
        return " ".join(self.text.partition("PLAY RECAP")[0].split())[-500:]

    @property
    def changed(self) -> int:
        """Tasks that changed something, over all hosts."""
        recap = self.text.partition("PLAY RECAP")[2]
        return sum(int(word.removeprefix("changed=")) for word in recap.split() if word.startswith("changed="))


def command(name: str, skip_tags: str, extra: Mapping[str, Any]) -> list[str]:
    # A proof that was started in the background would hand on that Ctrl-C is to be ignored.
    words = ["env", "--default-signal=INT", "ansible-playbook", "-i", "inventories/lab", f"playbooks/{name}.yml", "-e", json.dumps(extra)]
    return words + (["--skip-tags", skip_tags] if skip_tags else [])


def environment() -> dict[str, str]:
    # A task is shown when it begins, not with the first host that does not skip it: what is cut off is in the middle of it.
    more = {
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "true",
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{PROJECT}/.venv/bin:{os.environ['PATH']}",
    }
    return dict(os.environ) | more


def start(name: str, skip_tags: str = "", **extra: Any) -> subprocess.Popen[str]:
    """A playbook of the lab that is under way, with its output in a pipe and a process group of its own."""
    return subprocess.Popen(
        command(name, skip_tags, extra), cwd=PROJECT, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def calm() -> None:
    """No critical alert fires any more: the gates of a release and of a wave ask for that."""
    query = 'ALERTS{alertstate="firing",severity="critical"}'
    deadline = time.monotonic() + 600
    while firing := on("mon1", f"promq {shlex.quote(query)}"):
        if time.monotonic() > deadline:
            raise RuntimeError(f"still firing after 10 minutes: {firing}")
        time.sleep(5)


# Processes to which Ctrl-C had to be typed again, once for each time.
typed_again: list[int] = []


def typed_ctrl_c(process: subprocess.Popen[str]) -> None:
    """As a terminal does it: to the whole group. Again while nothing ends, as people do: Ansible can wait for ever for a worker that died writing."""
    os.killpg(process.pid, signal.SIGINT)

    def again() -> None:
        for _ in range(3):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
                return
            typed_again.append(process.pid)
            os.killpg(process.pid, signal.SIGINT)

    threading.Thread(target=again, daemon=True).start()


def play(name: str, at: Mapping[str, Callable[[subprocess.Popen[str]], object]] | None = None, skip_tags: str = "", **extra: Any) -> Run:
    """Run a playbook of the lab; `at` maps a text to what is done when a line first contains it."""
    waiting, begin = dict(at or {}), time.monotonic()
    process = start(name, skip_tags, **extra)
    lines = []
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        for text in [text for text in waiting if text in line]:
            waiting.pop(text)(process)
    return Run(process.wait(), "".join(lines), time.monotonic() - begin)


def typed(name: str, question: str, answer: Callable[[str], str], at: Mapping[str, Callable[[], object]], skip_tags: str = "", **extra: Any) -> Run:
    """Run a playbook on a terminal: each time the question is printed, what `answer` says (given all words so far) is typed."""
    begin, text, waiting, asked = time.monotonic(), "", dict(at), 0
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(PROJECT)
        os.execvpe("env", command(name, skip_tags, extra), environment())
    while True:
        try:
            text += os.read(terminal, 65536).decode(errors="replace")
        except OSError:
            break
        words = " ".join(text.split())
        for key in [key for key in waiting if key in words]:
            waiting.pop(key)()
        if words.count(question) > asked:
            asked = words.count(question)
            time.sleep(1)
            os.write(terminal, f"{answer(words)}\r".encode())
    return Run(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text, time.monotonic() - begin)


def wave(number: int, **extra: Any) -> Run:
    """Bring a wave on board."""
    return play("rollout_wave", wave=number, **extra)


def must(run: Run) -> Run:
    """The run; RuntimeError with its end when it failed."""
    if run.status:
        raise RuntimeError(f"exit status {run.status}:\n" + "\n".join(run.text.splitlines()[-60:]))
    return run


def status() -> dict[str, dict[str, Any]]:
    """Where every organisation stands, as the application tells."""
    return {row["code"]: row for row in json.loads(on("web1", "obcms-manage moa_status --json"))["organisations"]}


def shell(code: str, host: str = "web1") -> Any:
    """What a piece of Python prints inside the application, as JSON."""
    return json.loads(on(host, f"obcms-manage shell -v 0 <<'EOF'\n{code}\nEOF").splitlines()[-1])


def listed(numbers: Any = WAVES) -> dict[str, str]:
    """Username to organisation, from the lists of these waves."""
    found = {}
    for number in numbers:
        with (LAB / "users" / f"{number}.csv").open(newline="", encoding="utf-8") as stream:
            found.update({row["username"]: row["organisation_code"] for row in csv.DictReader(stream)})
    return found


def accounts() -> dict[str, str]:
    """Username to organisation, from the database; RuntimeError when a name is there twice."""
    rows = shell(
        "import json\nfrom accounts.models import User\n"
        "print(json.dumps([[u.username, u.organisation.code] for u in User.objects.exclude(role='service').exclude(organisation=None)]))"
    )
    names = [name for name, _ in rows]
    if len(names) != len(set(names)):
        raise RuntimeError("a username is there twice")
    return dict(rows)


def sealed() -> dict[str, str]:
    """Username to the newest one-time password, from the sealed files on the first host that keeps them."""
    names = on(KEEPERS[0], f"ls {RECORD}/passwords/ 2>/dev/null || true").split()
    found: dict[str, str] = {}
    for name in sorted(names, key=lambda each: each.rsplit("-", 1)[-1]):
        with tempfile.NamedTemporaryFile("w", suffix=".vault") as file:
            file.write(on(KEEPERS[0], f"cat {RECORD}/passwords/{name}") + "\n")
            file.flush()
            opened = subprocess.run([PROJECT / ".venv/bin/ansible-vault", "view", file.name], cwd=PROJECT, capture_output=True, text=True, check=True)
        found.update({row["username"]: row["password"] for row in csv.DictReader(opened.stdout.splitlines())})
    return found


def useless(passwords: dict[str, str]) -> list[str]:
    """Accounts whose sealed password does not open them."""
    place = "/dev/shm/proof-passwords.json"
    on("web1", f"umask 077; cat > {place} <<'EOF'\n{json.dumps(passwords)}\nEOF\nchown obcms {place}")
    try:
        return list(shell(OPENED.replace("json.load(sys.stdin)", f"json.load(open({place!r}))")))
    finally:
        on("web1", f"rm -f {place}")


def reset() -> None:
    """As if no wave had ever started: no organisation, no record. For the lab only."""
    from failover import DATABASE_HOSTS, sql

    sql(EMPTY)
    for host in KEEPERS:
        on(host, f"rm -rf {RECORD}/*; rm -f /var/lib/prometheus/node-exporter/obcms_rollout.prom")
    # What a proof that was broken off left: its wave is gone, and so is its lock.
    for host in DATABASE_HOSTS:
        on(host, f'grep -qs \'"kind": "wave\' {LOCK} && rm {LOCK}', check=False)


def merged_plan(groups: Sequence[Sequence[int]]) -> Path:
    """The plan of the lab with its waves put together into fewer, which are not watched: for proofs of what comes after they are on board."""
    place = Path(tempfile.mkdtemp(prefix="plan-"))
    (place / "users").mkdir()
    with (LAB / "moas.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    number_of = {old: number for number, group in enumerate(groups, 1) for old in group}
    with (place / "moas.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "wave": number_of[int(row["wave"])]} for row in rows if int(row["wave"]) in number_of)
    days = [f"{number},{2020 + number}-01-01,14,Lab team <rollout@lab.example>,0\n" for number in range(1, len(groups) + 1)]
    (place / "waves.csv").write_text("wave,start,days,coordinator,soak_minutes\n" + "".join(days))
    for number, group in enumerate(groups, 1):
        lists = [(LAB / "users" / f"{old}.csv").read_text().splitlines(keepends=True) for old in group]
        (place / "users" / f"{number}.csv").write_text("".join([lists[0][0], *(line for lines in lists for line in lines[1:])]))
    return place


def small_plan(soak_minutes: float = 1, start: str = "2024-01-01", first_line: str = "", listed: int = 3) -> Path:
    """A plan of two waves: two organisations with three accounts each, of the first as many as `listed`; then one with three hundred planned."""
    place = Path(tempfile.mkdtemp(prefix="plan-"))
    (place / "users").mkdir()
    (place / "moas.csv").write_text(
        "code,name,type,wave,users\nMOH,Ministry of Health,ministry,1,3\nMOLE,Ministry of Labor and Employment,ministry,1,3\n"
        "MSSD,Ministry of Social Services and Development,ministry,2,300\n"
    )
    days = [(1, start), (2, f"{int(start[:4]) + 1}{start[4:]}")]
    rows = [f"{number},{day},14,Lab team <rollout@lab.example>,{soak_minutes}\n" for number, day in days]
    (place / "waves.csv").write_text(first_line + "wave,start,days,coordinator,soak_minutes\n" + "".join(rows))
    head = "organisation_code,full_name,email,username,role\n"
    people = [(1, "MOH", listed), (1, "MOLE", 3), (2, "MSSD", 3)]
    for number in (1, 2):
        names = [(code, f"{code.lower()}-proof-{n}") for wave_, code, count in people if wave_ == number for n in range(count)]
        (place / "users" / f"{number}.csv").write_text(
            head + "".join(f"{code},Proof {name},{name}@lab.example,{name},staff\n" for code, name in names)
        )
    return place

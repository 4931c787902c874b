"""The rollout's playbooks from end to end, without the platform: stand-ins answer on loopback addresses."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PROJECT = Path(__file__).resolve().parents[2]
PARTS = Path(__file__).parent / "rollout"
sys.path.insert(0, str(PARTS))
import stand_in  # noqa: E402

DOMAIN = "obcms.test.example"
# Addresses of this machine alone, away from those that anything else uses.
NET = f"127.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"
ADDRESSES = {"lb1": 11, "web1": 21, "web2": 22, "db1": 41, "mon1": 61, "backup1": 71}
PORTS = {"db1": 8008, "lb1": stand_in.BALANCER, "web1": 8000, "web2": 8000, "mon1": 9090}
GROUPS = {"lb": ["lb1"], "app": ["web1", "web2"], "postgres": ["db1"], "monitoring": ["mon1"], "backup": ["backup1"]}
ENVIRONMENT = os.environ | {"ANSIBLE_NOCOLOR": "1", "PATH": f"{PROJECT}/.venv/bin:{os.environ['PATH']}"}
PLAN = """code,name,type,wave,users,modules
AAA,"First, of all",ministry,1,2,budget planning
BBB,Second,commission,1,1,
CCC,Third,office,2,1,
"""
SEAL = "a password of the vault"
USERS = """organisation_code,full_name,email,username,role
AAA,Ann One,ann@a.example,aaa-1,admin
AAA,Ann Two,two@a.example,aaa-2,staff
BBB,Ben One,ben@b.example,bbb-1,admin
"""


def certificate(directory: Path) -> None:
    """One certificate that is its own authority, for the name and all addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    names: list[x509.GeneralName] = [x509.DNSName(DOMAIN)]
    names += [x509.IPAddress(ipaddress.ip_address(f"{NET}.{last}")) for last in ADDRESSES.values()]
    start = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), start - datetime.timedelta(hours=1), start + datetime.timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for each in ("ca", "app", "haproxy-patroni", "prometheus"):
        (directory / f"{each}.crt").write_bytes(pem)
        (directory / f"{each}.key").write_bytes(secret)


class Platform:
    """Inventory, stand-ins and the state that they share."""

    def __init__(self, place: Path) -> None:
        self.place, self.state_file = place, place / "platform.json"
        self.answer: str | None = None
        self.lost = False
        self.set(**stand_in.EMPTY)
        certificate(place)
        shutil.copy(PARTS / "manage", place / "manage")
        inventory = place / "inventory"
        (inventory / "users").mkdir(parents=True)
        (inventory / "moas.csv").write_text(PLAN)
        (inventory / "users" / "1.csv").write_text(USERS)
        (inventory / "users" / "2.csv").write_text(USERS.splitlines()[0] + "\nCCC,Cy One,cy@c.example,ccc-1,admin\n")
        hosts = {group: {"hosts": {host: {"ansible_host": f"{NET}.{ADDRESSES[host]}"} for host in names}} for group, names in GROUPS.items()}
        (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
        self.servers = [
            stand_in.serve(f"{NET}.{ADDRESSES[host]}", port, self.state_file, place / "ca.crt", place / "ca.key") for host, port in PORTS.items()
        ]

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def set(self, **values: Any) -> None:
        state = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}
        self.state_file.write_text(json.dumps({**state, **values}))

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.state_file.read_text()))

    def record(self, host: str = "backup1") -> list[dict[str, Any]]:
        path = self.place / host / "record.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def run(self, playbook: str, good: bool | None = True, **extra: Any) -> str:
        place = str(self.place)
        variables = {
            "ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable,
            "app_secret_key": "s" * 50, "platform_domain": DOMAIN, "platform_virtual_address": f"{NET}.11",
            "rollout_balancer_port": stand_in.BALANCER, "rollout_pki_directory": place, "rollout_proof_ca": f"{place}/ca.crt",
            "rollout_manage": f"{place}/manage",
            "rollout_state_directory": f"{place}/web1", "rollout_record_directory": place + "/{{ (item | default({'name': ''})).name }}",
            "change_directory": place + "/{{ (item | default({'name': ''})).name }}",
            "rollout_user": subprocess.getoutput("id -gn"),
            "rollout_metrics_directory": place, "rollout_delivery": "vault", "rollout_seal_id": "test", "rollout_seal_secret": SEAL,
            "rollout_workers": [{"workers": 2, "threads": 2}], "__rollout_scratch": f"{place}/scratch",
            "rollout_restore_point_command": ["echo", "0/3000060"], "rollout_soak_minutes": 0,
        }  # fmt: skip
        command = ["ansible-playbook", "-i", f"{place}/inventory", f"playbooks/{playbook}.yml", "--skip-tags", "preflight"]
        if self.lost:
            # The connection of one host is in its host_vars; extra variables would outrank it.
            connection = {name: variables.pop(name) for name in ("ansible_connection", "ansible_become", "ansible_python_interpreter")}
            (self.place / "inventory" / "group_vars").mkdir(exist_ok=True)
            (self.place / "inventory" / "group_vars" / "all.yml").write_text(yaml.safe_dump(connection))
        command += ["-e", json.dumps({**variables, **extra})]
        status, text = self._typed(command) if self.answer else self._untyped(command)
        assert good is None or (status == 0) == good, text
        return text

    @staticmethod
    def _untyped(command: list[str]) -> tuple[int, str]:
        done = subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, cwd=PROJECT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def _typed(self, command: list[str]) -> tuple[int, str]:
        """Run on a terminal of its own, where somebody types the answer once the question stands there."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(PROJECT)
            os.execvpe(command[0], command, ENVIRONMENT)
        text, asked = "", False
        while True:
            try:
                chunk = os.read(terminal, 4096).decode(errors="replace")
            except OSError:
                break
            text += chunk
            if not asked and "takes the wave back" in " ".join(text.split()):
                asked = True
                time.sleep(1)
                os.write(terminal, f"{self.answer}\r".encode())
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def first_wave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first wave leaves in the place of a platform, made once by a real run."""
    made = Platform(tmp_path_factory.mktemp("first-wave"))
    (made.place / "said").write_text(made.run("rollout_wave", wave=1, reason="agreed on Monday"))
    made.close()
    return made.place


@pytest.fixture
def on_board(platform: Platform, first_wave: Path) -> Platform:
    """A platform whose first wave is complete."""
    for left in first_wave.iterdir():
        if left.is_dir() and left.name != "inventory":
            shutil.copytree(left, platform.place / left.name)
    for name in ("platform.json", "obcms_rollout.prom", "said"):
        shutil.copy(first_wave / name, platform.place)
    return platform


def unsealed(platform: Platform, host: str = "backup1") -> str:
    """All passwords that were sealed beside the record, in the order of the runs."""
    vault = VaultLib([("test", VaultSecret(SEAL.encode()))])
    kept = sorted((platform.place / host / "passwords").iterdir())
    assert all(path.stat().st_mode & 0o777 == 0o600 and path.read_text().startswith("$ANSIBLE_VAULT;") for path in kept)
    return "".join(vault.decrypt(path.read_bytes()).decode() for path in kept)


def states(platform: Platform) -> dict[str, str]:
    return {code: moa["state"] for code, moa in platform.state()["moas"].items()}


def test_a_wave_comes_on_board_and_a_second_run_changes_nothing(on_board: Platform) -> None:
    text = (on_board.place / "said").read_text()
    assert states(on_board) == {"AAA": "onboarded", "BBB": "onboarded"}
    assert "not another's (404)" in text
    assert {code: moa["modules"] for code, moa in on_board.state()["moas"].items()} == {"AAA": "budget,planning", "BBB": ""}
    kinds = [(line["kind"], line.get("moa", line.get("wave")), line.get("state")) for line in on_board.record()]
    assert kinds == [
        ("wave", 1, "started"), ("restore_point", 1, None), ("moa", "AAA", "onboarded"), ("moa", "BBB", "onboarded"),
        ("moa", "AAA", "proven"), ("moa", "BBB", "proven"), ("wave", 1, "complete"),
    ]  # fmt: skip
    assert on_board.record("mon1") == on_board.record("backup1")
    assert 'obcms_rollout_wave_complete{wave="1"} 1' in (on_board.place / "obcms_rollout.prom").read_text()
    report = (on_board.place / "backup1" / "reports" / "wave-1.html").read_text()
    assert "2 of 2 organisations on board, 3 of 3 users" in report
    assert "Restore point before-wave-1-" in report
    assert "# Wave 1: complete" in (on_board.place / "mon1" / "reports" / "wave-1.md").read_text()
    again = on_board.run("rollout_wave", wave=1)
    assert "changed=0" in again.partition("PLAY RECAP")[2], again
    assert len(on_board.record()) == len(kinds)


def test_nothing_secret_is_shown(on_board: Platform) -> None:
    text = (on_board.place / "said").read_text()
    secrets = [account["password"] for account in on_board.state()["accounts"].values()] + ["secret-aaa-1"]
    assert not [secret for secret in secrets if secret in text]
    assert unsealed(on_board).count("secret-") == 3
    assert not list((on_board.place / "scratch").iterdir())


def test_one_failing_never_hurts_another(platform: Platform) -> None:
    platform.set(fail=["AAA"])
    text = platform.run("rollout_wave", good=False, wave=1)
    assert "wave 1 is incomplete: AAA" in text
    assert "-e wave=1 -e resume=true" in " ".join(text.split())
    assert states(platform) == {"BBB": "onboarded"}
    platform.set(fail=[], calls=[])
    platform.run("rollout_wave", wave=1, resume=True)
    assert states(platform) == {"AAA": "onboarded", "BBB": "onboarded"}
    assert ["onboard_moa", "BBB"] not in platform.state()["calls"]
    platform.set(calls=[])
    platform.run("rollout_wave", wave=1, resume=True)
    assert {call[0] for call in platform.state()["calls"]} == {"moa_status"}


def test_a_live_organisation_is_not_shut_out_by_a_second_run_that_fails(on_board: Platform) -> None:
    on_board.set(fail=["AAA"])
    text = on_board.run("rollout_wave", good=False, wave=1)
    assert "wave 1 is incomplete: AAA" in text
    assert states(on_board) == {"AAA": "onboarded", "BBB": "onboarded"}
    assert [line["detail"] for line in on_board.record() if line.get("state") == "failed"] == ["onboard_moa: AAA: no space left on device"]


def test_who_sees_what_is_anothers_is_set_back(platform: Platform) -> None:
    platform.set(leak=["BBB"])
    text = platform.run("rollout_wave", good=False, wave=1)
    assert "LEAK" in text
    assert states(platform) == {"AAA": "onboarded", "BBB": "suspended"}


CLOSED = {
    "ready": {"ready": 503},
    "leader": {"leaders": 0},
    "disk_percent": {"values": {"node_filesystem": None, "default": 0}},
    "backup_hours": {"values": {"obcms_backup": 25, "default": 0}},
}


@pytest.mark.parametrize("gate", CLOSED)
def test_a_closed_gate_stops_a_wave_before_any_change(platform: Platform, gate: str) -> None:
    platform.set(**CLOSED[gate])
    text = platform.run("rollout_wave", good=False, wave=1)
    assert f"wave 1 does not start: {gate} " in " ".join(text.split())
    assert platform.state()["moas"] == {}
    assert platform.record() == []


def test_a_gate_may_be_left_out_by_name(platform: Platform) -> None:
    platform.set(**CLOSED["disk_percent"])
    text = platform.run("rollout_wave", wave=1, rollout_skip_gates=["disk_percent"])
    assert "SKIPPED" in text


def test_the_second_wave_waits_for_the_first(platform: Platform) -> None:
    text = platform.run("rollout_wave", good=False, wave=2)
    assert "wave 2 does not start: earlier_waves" in " ".join(text.split())


def test_the_second_wave_comes_after_the_first(on_board: Platform) -> None:
    on_board.run("rollout_wave", wave=2)
    assert "3 of 3 MOAs proven, 2 of 2 waves complete" in on_board.run("rollout_status")


def test_no_prometheus_is_no_pass(platform: Platform) -> None:
    platform.servers.pop().shutdown()
    text = platform.run("rollout_wave", good=False, wave=1, __rollout_queries={"cpu_percent": "x"}, __rollout_asked={"cpu_percent": "CPU"})
    assert "wave 1 does not start: cpu_percent" in " ".join(text.split())


def test_dry_run_shows_and_does_nothing(platform: Platform) -> None:
    text = platform.run("rollout_wave", wave=1, dry_run=True)
    assert "AAA would come on board; users now 0, in the list 2" in text
    assert platform.state()["moas"] == {}
    assert platform.record() == []


def test_a_dry_roll_back_shows_and_does_nothing(on_board: Platform) -> None:
    assert "proven" in on_board.run("rollback_wave", wave=1, dry_run=True)
    assert set(states(on_board).values()) == {"onboarded"}


def test_taken_back_and_brought_on_board_again(on_board: Platform) -> None:
    on_board.run("rollback_wave", wave=1, moas="AAA")
    assert states(on_board) == {"AAA": "suspended", "BBB": "onboarded"}
    assert on_board.record()[-1]["state"] == "incomplete"
    again = on_board.run("rollback_wave", wave=1, moas="AAA")
    assert "changed=0" in again.partition("PLAY RECAP")[2], again
    on_board.run("rollout_wave", wave=1)
    assert states(on_board) == {"AAA": "onboarded", "BBB": "onboarded"}
    assert on_board.record()[-1]["state"] == "complete"


def test_a_wave_is_not_complete_while_the_application_has_one_of_it_suspended(on_board: Platform) -> None:
    moas = on_board.state()["moas"]
    moas["BBB"]["state"] = "suspended"
    on_board.set(moas=moas)
    on_board.run("rollout_wave", wave=1, moas="AAA", resume=True)
    assert [on_board.record()[-1][name] for name in ("kind", "state", "detail")] == ["wave", "incomplete", "not on board: BBB"]
    on_board.run("rollout_wave", wave=1, resume=True)
    assert states(on_board) == {"AAA": "onboarded", "BBB": "onboarded"}
    assert on_board.record()[-1]["state"] == "complete"


def test_soaking_takes_the_wave_back_when_a_gate_closes(on_board: Platform) -> None:
    # Only the short look back of the soak sees this.
    on_board.set(values={"[60s]": 50, "default": 0})
    text = on_board.run("rollout_wave", good=False, wave=2, rollout_soak_minutes=0.03, rollout_soak_check_seconds=1)
    assert "soaking for 1 of 2 s" in text
    assert states(on_board) == {"AAA": "onboarded", "BBB": "onboarded", "CCC": "suspended"}


def test_a_gate_that_closes_while_soaking_may_leave_the_wave_and_the_soak_is_done_again(platform: Platform) -> None:
    platform.set(values={"[60s]": 50, "default": 0})
    text = platform.run("rollout_wave", good=False, wave=1, rollout_soak_minutes=0.03, rollout_soak_check_seconds=1, rollout_soak_action="stop")
    assert "wave 1 is incomplete: errors_percent" in " ".join(text.split())
    assert set(states(platform).values()) == {"onboarded"}
    assert platform.record()[-1]["state"] == "incomplete"
    assert "wave 2 does not start: earlier_waves" in " ".join(platform.run("rollout_wave", good=False, wave=2).split())
    platform.set(values={"default": 0})
    assert "soaking for 1 of 2 s" in platform.run("rollout_wave", wave=1, resume=True, rollout_soak_minutes=0.03, rollout_soak_check_seconds=1)
    assert platform.record()[-1]["state"] == "complete"


@pytest.mark.parametrize(("answer", "state", "good"), [(None, "suspended", False), ("stop", "onboarded", False), ("go on", "onboarded", True)])
def test_somebody_is_asked_what_to_do(platform: Platform, answer: str | None, state: str, good: bool) -> None:
    # Only the short look back of the soak sees this.
    platform.set(values={"[60s]": 50, "default": 0})
    platform.answer = answer
    limits = dict.fromkeys(("replication_lag_seconds", "cpu_percent", "redis_memory_percent", "connections_percent", "p95_seconds"), 100)
    platform.run(
        "rollout_wave", good=good, wave=1, rollout_soak_minutes=0.03, rollout_soak_check_seconds=1, rollout_soak_action="ask", rollout_limits=limits
    )
    assert set(states(platform).values()) == {state}


def test_passwords_that_a_cut_off_run_never_put_away_are_made_again(platform: Platform) -> None:
    # As a run leaves it that is killed between the application's command and the seal, on a host that is then lost.
    platform.set(moas={"AAA": {"code": "AAA", "state": "onboarded", "users": 2, "people": ["aaa-1", "aaa-2"], "newest_record": 100, "wave": 1}})
    platform.run("rollout_wave", wave=1, resume=True)
    assert unsealed(platform).count("secret-") == 3
    platform.run("rollout_wave", wave=1)
    assert unsealed(platform).count("secret-") == 3


def test_a_second_run_that_was_cut_off_is_taken_up_with_the_users_it_did_not_reach_and_the_passwords_it_left(on_board: Platform) -> None:
    # The list grew; the run was killed when the command of BBB had made its new account, before that of AAA and before the seal.
    (on_board.place / "inventory" / "users" / "1.csv").write_text(
        USERS + "AAA,Ann Three,three@a.example,aaa-3,staff\nBBB,Ben Two,two@b.example,bbb-2,staff\n"
    )
    moas = on_board.state()["moas"]
    moas["BBB"].update(users=2, people=["bbb-1", "bbb-2"])
    on_board.set(moas=moas, calls=[])
    (on_board.place / "scratch" / "1.csv").write_text("organisation,username,email,password\nBBB,bbb-2,two@b.example,secret-bbb-2\n")
    on_board.run("rollout_wave", wave=1, resume=True)
    assert [call for call in on_board.state()["calls"] if call[0] == "onboard_moa"] == [["onboard_moa", "AAA"]]
    assert unsealed(on_board).count("secret-aaa-3") == unsealed(on_board).count("secret-bbb-2") == 1
    # Nothing is due any more, and still nothing stays in clear text.
    (on_board.place / "scratch" / "1.csv").write_text("organisation,username,email,password\nBBB,bbb-2,two@b.example,secret-again\n")
    on_board.run("rollout_wave", wave=1, resume=True)
    assert "secret-again" in unsealed(on_board)
    assert not list((on_board.place / "scratch").iterdir())


def lose(platform: Platform, host: str) -> None:
    """From now on nobody answers at the host's SSH."""
    lost = {"ansible_connection": "ssh", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=1"}
    (platform.place / "inventory" / "host_vars").mkdir(exist_ok=True)
    (platform.place / "inventory" / "host_vars" / f"{host}.yml").write_text(yaml.safe_dump(lost))
    platform.lost = True


def test_a_host_that_keeps_the_record_is_lost_and_the_other_keeps_it_alone(platform: Platform) -> None:
    lose(platform, "backup1")
    platform.run("rollout_wave", wave=1)
    assert (platform.record("backup1"), platform.record("mon1")[-1]["state"]) == ([], "complete")
    assert unsealed(platform, "mon1").count("secret-") == 3
    assert not list((platform.place / "scratch").iterdir())


def test_the_first_application_host_is_lost(on_board: Platform) -> None:
    lose(on_board, "web1")
    assert "2 of 3 MOAs proven" in on_board.run("rollout_status")
    assert "wave 2 does not start: version, ready" in " ".join(on_board.run("rollout_wave", good=False, wave=2).split())
    on_board.run("rollback_wave", good=None, wave=1)
    assert states(on_board) == {"AAA": "suspended", "BBB": "suspended"}


def test_one_that_cannot_be_shut_out_is_named_and_keeps_nobody_else_in(on_board: Platform) -> None:
    on_board.set(stuck=["AAA"])
    text = on_board.run("rollback_wave", good=False, wave=1)
    assert "AAA is still on board" in " ".join(text.split())
    assert states(on_board) == {"AAA": "onboarded", "BBB": "suspended"}
    assert [line["detail"] for line in on_board.record() if line.get("state") == "suspension failed"][0].endswith("AAA is stuck")


def test_who_never_came_on_board_is_not_written_down_as_suspended(platform: Platform) -> None:
    platform.run("rollback_wave", wave=2)
    assert platform.record() == []


def test_the_way_back_needs_neither_the_calendar_nor_room_for_the_plan(platform: Platform) -> None:
    (platform.place / "inventory" / "waves.csv").write_text("wave,start\ndamaged")
    platform.run("rollback_wave", wave=2, rollout_users_per_host=1)
    assert (changes(platform)[-1]["kind"], changes(platform)[-1]["result"]) == ("wave_back", "done")


def test_a_damaged_record_stops_everything(on_board: Platform) -> None:
    path = on_board.place / "mon1" / "record.jsonl"
    path.write_text(path.read_text().replace('"users":2', '"users":3'))
    text = on_board.run("rollout_wave", good=False, wave=2)
    assert "the record is damaged on mon1: line" in " ".join(text.split())
    path.unlink()
    on_board.run("rollout_wave", wave=2)
    assert on_board.record("mon1") == on_board.record("backup1")


def changes(platform: Platform, host: str = "db1") -> list[dict[str, Any]]:
    """The record of all changes, in which waves stand beside releases."""
    return platform.record(host)


def held(platform: Platform, **holder: Any) -> Path:
    """The lock of the fleet as another change holds it."""
    lock = platform.place / "db1" / "lock.json"
    lock.parent.mkdir(exist_ok=True)
    known = {"id": "20270104T080000Z-4f1c", "term": 7, "who": "omar", "controller": "desk", "at": "2027-01-04T08:00:00Z", "reason": "monthly"}
    lock.write_text(json.dumps({**known, **holder}))
    return lock


def test_a_wave_is_written_down_beside_releases_and_gives_the_lock_back(on_board: Platform) -> None:
    found = [(line["kind"], line["subject"], line["phase"], line.get("moa") or line.get("gate")) for line in changes(on_board)]
    assert found[0] == ("wave", "1", "started", None)
    assert ("wave", "1", "gates", "backup_hours") in found
    assert ("wave", "1", "proven", "BBB") in found
    assert (changes(on_board)[-1]["result"], changes(on_board)[-1]["text"]) == ("done", "2 organisations are on board: AAA, BBB")
    assert changes(on_board)[0]["reason"] == "agreed on Monday"
    on_board.run("rollback_wave", wave=1)
    assert (changes(on_board)[-1]["kind"], changes(on_board)[-1]["result"]) == ("wave_back", "done")
    assert not (on_board.place / "db1" / "lock.json").exists()


def test_a_wave_that_is_stopped_or_incomplete_gives_the_lock_back_and_says_why(platform: Platform) -> None:
    platform.set(ready=503)
    platform.run("rollout_wave", good=False, wave=1)
    assert (changes(platform)[-1]["result"], changes(platform)[-1]["text"][:34]) == ("failed", "wave 1 does not start: ready (see ")
    assert [line["gate"] for line in changes(platform) if line.get("passed") is False] == ["ready"]
    platform.set(ready=200, fail=["AAA"])
    platform.run("rollout_wave", good=False, wave=1)
    assert (changes(platform)[-1]["result"], changes(platform)[-1]["text"]) == ("incomplete", "wave 1 is incomplete: AAA (see above).")
    assert not (platform.place / "db1" / "lock.json").exists()


def test_a_wave_and_a_release_exclude_each_other(platform: Platform) -> None:
    held(platform, kind="deploy", subject="1.2.0")
    text = " ".join(platform.run("rollout_wave", good=False, wave=1).split())
    assert "wave 1 does not start, nothing was changed: under way is deploy 1.2.0, started by omar from desk" in text
    assert platform.state()["moas"] == {}
    assert platform.record() == []


def test_a_cut_off_wave_is_taken_up_by_resume_only(platform: Platform) -> None:
    lock = held(platform, kind="wave", subject="1")
    assert "-e resume=true takes it up" in " ".join(platform.run("rollout_wave", good=False, wave=1).split())
    platform.run("rollout_wave", wave=1, resume=True)
    assert changes(platform)[0]["phase"] == "resumed"
    assert not lock.exists()


def test_the_way_back_does_not_wait_for_the_lock_but_for_the_record(on_board: Platform) -> None:
    lock = held(on_board, kind="deploy", subject="1.2.0")
    on_board.set(stuck=["AAA"])
    text = " ".join(on_board.run("rollback_wave", good=False, wave=1).split())
    assert states(on_board) == {"AAA": "onboarded", "BBB": "suspended"}
    assert "access ended for BBB; NOT suspended: AAA (suspend_moa: AAA is stuck), run it again at once. None of this is proven" in text
    assert "nothing was changed" not in text.rpartition("access ended for BBB")[2]
    on_board.set(stuck=[])
    assert on_board.record()[-1]["state"] == "complete"
    lock.unlink()
    on_board.run("rollback_wave", wave=1)
    assert on_board.record()[-1]["state"] == "taken back"


def test_a_list_with_more_users_than_the_fleet_carries_closes_a_gate(platform: Platform) -> None:
    rows = "".join(f"AAA,A {n},a{n}@a.example,aaa-{n},staff\n" for n in range(9))
    (platform.place / "inventory" / "users" / "1.csv").write_text(USERS + rows.replace("aaa-1,", "aaa-11,").replace("aaa-2,", "aaa-12,"))
    text = platform.run("rollout_wave", good=False, wave=1, rollout_users_per_host=4)
    assert "wave 1 does not start: capacity (see" in " ".join(text.split())


@pytest.fixture
def other_application(platform: Platform) -> str:
    """The command that runs the commands of an application of another kind, lab/app-minimal: other names, no users, no logins, no status."""
    for name in ("django", "dj_database_url"):
        if find_spec(name) is None:
            pytest.skip(f"no {name}: bin/setup installs it")
    source, command = PROJECT / "lab" / "app-minimal", platform.place / "manage-other"
    exports = (
        f"export DATABASE_URL='sqlite:///{platform.place}/other.sqlite3' REDIS_URL=redis://127.0.0.1:1/0 DJANGO_SETTINGS_MODULE=minimal.settings"
    )
    command.write_text(f'#!/bin/sh\n{exports}\nexec {sys.executable} {source}/manage.py "$@"\n')
    command.chmod(0o755)
    subprocess.run([command, "migrate", "-v", "0"], check=True)
    return str(command)


def tenants(platform: Platform) -> list[tuple[str, str, int]]:
    with sqlite3.connect(platform.place / "other.sqlite3") as database:
        return database.execute("SELECT slug, title, enabled FROM things_tenant ORDER BY slug").fetchall()


def test_an_application_with_other_commands_is_driven_by_variables(platform: Platform, other_application: str) -> None:
    other = {
        "rollout_manage": other_application,
        "rollout_onboard_command": ["tenant_add", "{lower}", "--title", "{name}"],
        "rollout_suspend_command": ["tenant_disable", "{lower}"],
        "rollout_status_command": [],
        "rollout_modules_options": [],
        "rollout_proof_user": "",
        "rollout_users_needed": False,
    }
    platform.run("rollout_wave", wave=1, **other)
    assert tenants(platform) == [("aaa", "First, of all", 1), ("bbb", "Second", 1)]
    assert "changed=0" in platform.run("rollout_wave", wave=1, **other).partition("PLAY RECAP")[2]
    platform.run("rollback_wave", wave=1, **other)
    assert [enabled for _, _, enabled in tenants(platform)] == [0, 0]


def test_passwords_that_cannot_be_sealed_stop_a_wave_before_any_change(platform: Platform) -> None:
    text = platform.run("rollout_wave", good=False, wave=1, rollout_seal_secret="no vault password file for test")
    assert 'there is no vault password for "test" on this machine' in " ".join(text.split())
    assert platform.state()["moas"] == {}


@pytest.fixture
def application(platform: Platform) -> Iterator[str]:
    """The reference application in the place of balancer and application hosts; the command that runs its own commands."""
    if find_spec("django") is None:
        pytest.skip("no Django: bin/setup installs it")
    for server in platform.servers[1:4]:
        server.shutdown()
        server.server_close()
    place, source = platform.place, PROJECT / "lab" / "app"
    environment = {
        **os.environ, "DEBUG": "1", "SECRET_KEY": "s" * 60, "ALLOWED_HOSTS": "*", "DATABASE_URL": f"sqlite:///{place}/db.sqlite3",
        "PYTHONPATH": str(source), "DJANGO_SETTINGS_MODULE": "obcms.settings", "CSRF_TRUSTED_ORIGINS": f"https://{DOMAIN}:{stand_in.BALANCER}",
    }  # fmt: skip
    for name in ("REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "DATABASE_REPLICA_URL"):
        environment.pop(name, None)
    command = place / "manage-application"
    exports = "".join(
        f"export {name}='{environment[name]}'\n" for name in environment if name not in os.environ or os.environ[name] != environment[name]
    )
    command.write_text(f'#!/bin/sh\n{exports}exec {sys.executable} {source}/manage.py "$@"\n')
    command.chmod(0o755)
    subprocess.run([command, "migrate", "-v", "0"], check=True)
    binds = [word for host in ("lb1", "web1", "web2") for word in ("-b", f"{NET}.{ADDRESSES[host]}:{PORTS[host]}")]
    tls = ["--certfile", str(place / "ca.crt"), "--keyfile", str(place / "ca.key")]
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "obcms.wsgi", "--threads", "4", *tls, *binds], cwd=source, env=environment, stdin=subprocess.DEVNULL
    )
    time.sleep(5)
    yield str(command)
    server.terminate()
    server.wait(30)


def test_the_reference_application(platform: Platform, application: str) -> None:
    text = platform.run("rollout_wave", wave=1, rollout_manage=application)
    assert text.count("its own record, not another's (404)") >= 2
    assert "changed=0" in platform.run("rollout_wave", wave=1, rollout_manage=application).partition("PLAY RECAP")[2]
    platform.run("rollback_wave", wave=1, moas="BBB", rollout_manage=application)
    assert "suspended    suspended" in platform.run("rollout_status", rollout_manage=application)
    platform.run("rollout_wave", wave=1, rollout_manage=application)

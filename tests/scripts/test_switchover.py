"""The conductor of a switchover, with hosts that are small programs: whatever goes wrong, every pooler is told to go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
# Writes down what it is told, and does what the scenario says about that word.
HOST = """
import json, os, sys, time
log, scenario = sys.argv[1], json.loads(sys.argv[2])
def note(text):
    with open(log, "a") as stream:
        stream.write(f"{time.monotonic():.3f} {text}\\n")
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    word = line.split()[0]
    note(line.strip())
    what = scenario.get(word, "done")
    if what == "silent":
        continue
    if what == "die":
        sys.exit("killed in the middle")
    if what.startswith("sleep"):
        time.sleep(float(what.split()[1]))
        what = "done"
    print(what, word, "0.001" if what == "done" else "it does not want to", flush=True)
note("end")
"""


def command(place: Path, name: str, scenario: dict[str, str]) -> list[str]:
    return [sys.executable, "-c", HOST, str(place / name), json.dumps(scenario)]


def orders(place: Path, **scenarios: dict[str, str]) -> str:
    names = {"poolers": ("web1", "web2", "worker1"), "members": ("db1", "db2", "db3")}
    lines = {kind: {name: command(place, name, scenarios.get(name, {})) for name in hosts} for kind, hosts in names.items()}
    return json.dumps({"leader": "db1", "candidate": "db2", "candidate_address": "192.0.2.42", "pause_seconds": 0.5, "switch_seconds": 1, **lines})


def run(place: Path, **scenarios: dict[str, str]) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "scripts/switchover.py"]
    done = subprocess.run(command, input=orders(place, **scenarios), cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def told(place: Path, name: str) -> list[str]:
    return [line.split(" ", 1)[1] for line in (place / name).read_text().splitlines()]


def all_resumed(place: Path, but: tuple[str, ...] = ()) -> bool:
    return all(told(place, name)[-2:] == ["resume", "end"] for name in ("web1", "web2", "worker1") if name not in but)


def test_poolers_are_held_around_the_move_and_never_before_the_checkpoint(tmp_path: Path) -> None:
    status, result = run(tmp_path, db2={"watch": "sleep 0.3"}, db1={"switch": "sleep 5"})
    assert (status, result["moved"], result["problem"]) == (0, True, "")
    assert told(tmp_path, "web1") == ["pause 0.5", "follow db2", "end"]
    assert told(tmp_path, "db1") == ["checkpoint", "checkpoint", "switch db1 db2", "end"]
    assert told(tmp_path, "db2") == ["checkpoint", "watch 1", "end"]
    assert told(tmp_path, "db3") == ["checkpoint", "follow 192.0.2.42", "end"]
    # The candidate's word is enough: the former leader's end is not waited for.
    assert 0.3 <= result["times"]["held"] < 4


def test_a_third_member_that_cannot_help_does_not_stop_the_move(tmp_path: Path) -> None:
    for number, scenario in enumerate(({"checkpoint": "die"}, {"checkpoint": "failed"}, {"follow": "failed"}, {"follow": "die"})):
        place = tmp_path / str(number)
        place.mkdir()
        status, result = run(place, db3=scenario)
        assert (status, result["moved"]) == (0, True)
        assert told(place, "web1") == ["pause 0.5", "follow db2", "end"]
        assert ("follow 192.0.2.42" in told(place, "db3")) == ("follow" in scenario)


def test_a_third_member_stays_where_it_is_when_nothing_moved(tmp_path: Path) -> None:
    run(tmp_path, db1={"switch": "failed"}, db2={"watch": "sleep 1"})
    assert told(tmp_path, "db3") == ["checkpoint", "end"]


def test_one_pooler_that_cannot_be_held_lets_all_go_and_nothing_moves(tmp_path: Path) -> None:
    status, result = run(tmp_path, web2={"pause": "failed"})
    assert status == 1
    assert result["problem"] == "web2: pause it does not want to"
    assert told(tmp_path, "db1") == ["checkpoint", "checkpoint", "end"]
    assert all_resumed(tmp_path)


def test_a_silent_pooler_holds_up_nobody_for_long(tmp_path: Path) -> None:
    begin = time.monotonic()
    status, result = run(tmp_path, web2={"pause": "silent"})
    assert (status, result["problem"]) == (1, "web2 does not answer in time")
    assert all_resumed(tmp_path)
    assert time.monotonic() - begin < 20


def test_a_line_that_is_lost_while_poolers_are_held(tmp_path: Path) -> None:
    status, result = run(tmp_path, web2={"pause": "die"})
    assert status == 1
    assert "web2: the line to it was lost: killed in the middle" in result["problem"]
    assert all_resumed(tmp_path, but=("web2",))


def test_patroni_that_refuses_lets_all_go_at_once(tmp_path: Path) -> None:
    status, result = run(tmp_path, db1={"switch": "failed"}, db2={"watch": "sleep 1"})
    assert (status, result["problem"]) == (1, "db1: switch it does not want to")
    assert all_resumed(tmp_path)
    assert "follow db2" not in told(tmp_path, "web1")


def test_a_candidate_that_does_not_lead_in_time(tmp_path: Path) -> None:
    status, result = run(tmp_path, db1={"switch": "sleep 8"}, db2={"watch": "failed"})
    assert (status, result["problem"]) == (1, "db2: watch it does not want to")
    assert all_resumed(tmp_path)


def test_an_interrupted_conductor_lets_all_go(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        place = tmp_path / number.name
        place.mkdir()
        process = subprocess.Popen(
            [sys.executable, "scripts/switchover.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=PROJECT,
            text=True,
        )
        assert process.stdin
        process.stdin.write(orders(place, db1={"switch": "sleep 8"}, db2={"watch": "sleep 8"}))
        process.stdin.close()
        end = time.monotonic() + 40
        while not (place / "db1").exists() or "switch db1 db2" not in told(place, "db1"):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(number)
        process.wait(timeout=40)
        time.sleep(1)
        # A conductor that was killed says nothing; its poolers see the end of their line, and let go by themselves.
        last = ["resume", "end"] if number == signal.SIGINT else ["pause 0.5", "end"]
        assert all(told(place, name)[-2:] == last for name in ("web1", "web2", "worker1"))

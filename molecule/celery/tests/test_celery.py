"""Two workers, one beat, and what becomes of both when a worker stops or a host is lost."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from conftest import PROJECT, wait
from testinfra.host import Host

Hosts = dict[str, Host]
WORKERS = ("worker1", "worker2")


def django(host: Host, code: str) -> str:
    """Last line that a few lines of Python print inside the application."""
    return str(host.check_output("obcms-manage shell -c %s", code).splitlines()[-1])


@pytest.fixture(scope="module", autouse=True)
def _tables(hosts: Hosts) -> None:
    hosts["worker1"].check_output("obcms-migrate")


def start_task(hosts: Hosts, seconds: float) -> tuple[str, Host, Host]:
    """Number of a task that takes so long, the worker that has begun it, and the other one."""
    number, state, name = django(
        hosts["worker1"],
        "import time; from accounts.models import Organisation; from work.models import TaskRun; from work.tasks import run\n"
        "organisation, _ = Organisation.objects.get_or_create(code='AAA', defaults={'name': 'First'})\n"
        f"asked = TaskRun.objects.create(organisation=organisation, seconds={seconds}); run.delay(str(asked.pk)); end = time.monotonic() + 30\n"
        "while asked.state != 'running' and time.monotonic() < end: time.sleep(0.1); asked.refresh_from_db()\n"
        "print(asked.pk, asked.state, asked.worker or '-')",
    ).split()
    assert state == "running", "no worker has taken the task within 30 s"
    return number, hosts[name], hosts[next(other for other in WORKERS if other != name)]


def became(host: Host, number: str) -> dict[str, object]:
    """State, number of starts and worker of a task."""
    code = f"import json; from work.models import TaskRun; print(json.dumps(TaskRun.objects.values('state', 'starts', 'worker').get(pk='{number}')))"
    return dict(json.loads(django(host, code)))


def beats(hosts: Hosts) -> list[str]:
    return [name for name in WORKERS if hosts[name].run("systemctl is-active --quiet obcms-beat.service").rc == 0]


def test_every_worker_answers(hosts: Hosts) -> None:
    wait(lambda: hosts["worker1"].run("obcms-celery inspect ping --timeout 3").stdout.count("pong") == 2, 30, "two workers answer")


def test_a_result_comes_back(hosts: Hosts) -> None:
    number = hosts["worker2"].check_output("obcms-celery call celery.accumulate --args '[40, 2]'").splitlines()[-1]
    assert hosts["worker1"].check_output("timeout 30 obcms-celery result %s", number).splitlines()[-1] == "[40, 2]"


def test_a_stopping_worker_finishes_its_task(hosts: Hosts) -> None:
    number, worker, other = start_task(hosts, 6)
    worker.check_output("systemctl stop obcms-celery.service")
    assert became(other, number) | {"worker": ""} == {"state": "done", "starts": 1, "worker": ""}
    worker.check_output("systemctl start obcms-celery.service")


def test_a_task_that_takes_too_long_runs_again_elsewhere(hosts: Hosts) -> None:
    number, worker, other = start_task(hosts, 20)
    begin = time.monotonic()
    worker.check_output("systemctl stop obcms-celery.service")
    assert 7 < time.monotonic() - begin < 18
    wait(lambda: became(other, number)["state"] == "done", 60, "the other worker has done it")
    assert became(other, number) | {"state": "", "starts": 2} == {"state": "", "starts": 2, "worker": other.check_output("hostname")}
    worker.check_output("systemctl start obcms-celery.service")


def test_nothing_but_the_sandbox_is_open(hosts: Hosts) -> None:
    for unit in ("obcms-celery.service", "obcms-beat-lock.service", "obcms-beat.service"):
        hosts["worker1"].check_output("systemd-analyze security --threshold=30 %s", unit)


def test_one_beat_when_the_process_that_holds_its_lock_is_killed(hosts: Hosts) -> None:
    def runs() -> list[str]:
        return [hosts[name].check_output("systemctl show --value --property=InvocationID obcms-beat.service") for name in beats(hosts)]

    wait(lambda: len(beats(hosts)) == 1, 30, "one beat")
    (name,), first = beats(hosts), runs()
    hosts[name].check_output("systemctl kill --signal=KILL --kill-whom=all obcms-beat-lock.service")
    wait(lambda: len(runs()) == 1 and runs() != first, 30, "another beat")


def test_exactly_one_beat_when_its_host_is_lost_and_when_it_returns(hosts: Hosts) -> None:
    wait(lambda: len(beats(hosts)) == 1, 30, "one beat")
    (lost,) = beats(hosts)
    other = next(name for name in WORKERS if name != lost)
    subprocess.run(["docker", "kill", f"{PROJECT}-{lost}"], check=True, capture_output=True)
    try:
        wait(lambda: beats({lost: hosts[other], other: hosts[other]}) != [], 30, "the other host has the beat")
    finally:
        subprocess.run(["docker", "start", f"{PROJECT}-{lost}"], check=True, capture_output=True)
    wait(lambda: hosts[lost].run("systemctl is-active --quiet obcms-beat-lock.service").rc == 0, 60, "the lost host waits for the lock")
    time.sleep(12)
    assert beats(hosts) == [other]

"""Metrics of several processes, as gunicorn's workers are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from reference import APPLICATION

COUNT_ONE = """
import sys
from obcms.instruments import CACHE_OPERATIONS
CACHE_OPERATIONS.labels("hit").inc()
print("counted", flush=True)
sys.stdin.readline()
"""
SUM = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""
FORK = """
import os
from obcms.instruments import CACHE_OPERATIONS, process_slot
parent = process_slot()
child = os.fork()
if not child:
    os._exit(0 if process_slot() != parent else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def process(directory: Path, code: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(APPLICATION / "obcms"), "PROMETHEUS_MULTIPROC_DIR": str(directory)}
    # Without the package's __init__, which would start Celery.
    code = code.replace("from obcms.instruments", "from instruments")
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_add_up_and_leave_no_pile_of_files(tmp_path: Path) -> None:
    for _ in range(3):
        both = [process(tmp_path, COUNT_ONE) for _ in range(2)]
        for one in both:
            assert one.stdout is not None
            assert one.stdout.readline() == "counted\n"
        for one in both:
            one.communicate("\n")
    text = process(tmp_path, SUM).communicate()[0]
    assert 'obcms_cache_operations_total{result="hit"} 6.0' in text
    assert len(list(tmp_path.glob("counter_*.db"))) == 2


def test_a_forked_process_takes_a_slot_of_its_own(tmp_path: Path) -> None:
    assert process(tmp_path, FORK).wait() == 0


def test_without_a_writable_directory_it_counts_for_itself(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    one = process(blocked / "metrics", COUNT_ONE)
    assert one.communicate("\n")[0] == "counted\n"

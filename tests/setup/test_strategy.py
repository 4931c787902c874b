"""Strategy `swift`: Mitogen and the main process give the same results as the stock strategy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
# Output; of each host, what `everywhere` says; the processes that asked whether a task is skipped.
Run = tuple[list[str], list[list[str]], set[str]]
MAIN_PROCESS = PROJECT / "tests" / "setup" / "strategy" / "play.yml"
PLAYBOOK = """
- hosts: all
  gather_facts: false
  become: false
  tasks:
    - name: A file, a notice, a loop
      ansible.builtin.copy: {content: "{{ inventory_hostname }} {{ item }}\\n", dest: "{{ folder }}/{{ item }}", mode: "0640"}
      loop: [one, two]
      notify: Count
    - name: A skipped task
      ansible.builtin.command: /bin/false
      when: item == 3
      loop: [1, 2]
    - name: A rescued failure
      block:
        - name: Fail
          ansible.builtin.command: /bin/false
          changed_when: false
      rescue:
        - name: Rescue
          ansible.builtin.set_fact: {rescued: true}
    - name: Once
      ansible.builtin.command: "cat {{ folder }}/one"
      register: read
      changed_when: false
      run_once: true
    - name: What came out
      ansible.builtin.copy: {content: "{{ [read.stdout, rescued] | to_json }}", dest: "{{ folder }}/result", mode: "0600"}
  handlers:
    - name: Count
      ansible.builtin.copy: {content: counted, dest: "{{ folder }}/handler", mode: "0600"}
"""


def played(strategy: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A run of ansible-playbook under one strategy; AssertionError unless it ends well."""
    environment = os.environ | {"OBCMS_STRATEGY": strategy, "ANSIBLE_CACHE_PLUGIN": "memory", "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
    done = subprocess.run(["ansible-playbook", *words], cwd=PROJECT, env=environment | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def outcome(folder: Path, strategy: str) -> tuple[dict[str, object], dict[str, tuple[str, int]]]:
    """Recap and files of one run of PLAYBOOK."""
    files = folder / "files"
    files.mkdir(parents=True)
    (folder / "play.yml").write_text(PLAYBOOK)
    words = ["-i", "localhost,", "-c", "local", "-e", f"folder={files}", "-e", "ansible_python_interpreter=python3", str(folder / "play.yml")]
    text = played(strategy, *words, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json").stdout
    recap = json.loads(text[text.index("{") :])["stats"]
    return recap, {path.name: (path.read_text(), path.stat().st_mode) for path in files.iterdir()}


def test_mitogen_and_linear_agree(tmp_path: Path) -> None:
    pytest.importorskip("ansible_mitogen")
    assert outcome(tmp_path / "mitogen", "") == outcome(tmp_path / "linear", "linear")


def test_the_switch_chooses(tmp_path: Path) -> None:
    probe = "import importlib.util as u; s = u.spec_from_file_location('swift', 'strategy_plugins/swift.py'); m = u.module_from_spec(s)"
    for strategy, mitogen in (("", "True"), ("linear", "False")):
        code = f"{probe}; s.loader.exec_module(m); print(any('mitogen' in b.__module__ for b in m.StrategyModule.__mro__))"
        done = subprocess.run(
            [str(PROJECT / ".venv/bin/python"), "-c", code],
            cwd=PROJECT,
            env=os.environ | {"OBCMS_STRATEGY": strategy},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == mitogen, done.stderr


SHARED = """
import importlib.util, os, sys
from ansible import constants
constants.DEFAULT_LOCAL_TMP = sys.argv[1]
spec = importlib.util.spec_from_file_location("swift", "strategy_plugins/swift.py")
swift = importlib.util.module_from_spec(spec)
spec.loader.exec_module(swift)
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from jinja2 import Environment
templar = Templar(DataLoader(), variables={"given": 3})
said = lambda: [templar.template(trust_as_template("{{ given + 1 }}")), templar.evaluate_conditional(trust_as_template("given + 1 == 4"))]
if os.fork() == 0:
    os._exit(said() != [4, True])
assert os.wait()[1] == 0
Environment._generate = None
print(said())
"""


def test_what_one_worker_has_compiled_another_does_not_compile(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SHARED, str(tmp_path)], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[4, True]", done.stderr


def everywhere(place: Path, strategy: str) -> Run:
    """Lines of the output in alphabetical order, since hosts end in any order; and of each host the processes
    that set two facts, at once and with `until`, and how many cores a worker may use.
    """
    place.mkdir()
    inventory = place / "hosts.yml"
    local = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable, "place": str(place)}
    inventory.write_text(json.dumps({"all": {"hosts": {"one": {}, "two": {}, "three": {}}, "vars": local}}))
    done = played(strategy, "-i", str(inventory), str(MAIN_PROCESS), ANSIBLE_NOCOLOR="1")
    hosts = [json.loads((place / host).read_text()) for host in ("one", "two", "three")]
    asked = {process for path in place.glob("*.skipped") for process in path.read_text().split()}
    return sorted((done.stdout + done.stderr).splitlines()), hosts, asked


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    place = tmp_path_factory.mktemp("swift")
    return {strategy: everywhere(place / strategy, strategy) for strategy in ("swift", "linear")}


def test_both_end_alike(runs: dict[str, Run]) -> None:
    swift, linear = runs["swift"][0], runs["linear"][0]
    # Hosts end in any order, also where one line names several.
    assert [sorted(line.replace(",", "").split()) for line in swift] == [sorted(line.replace(",", "").split()) for line in linear]
    text = "\n".join(swift)
    for said in ("caught: three has failed", "given: one", "- b of three", "'nobody_set_this' is undefined", "done: done"):
        assert said in text
    assert "a secret of" not in text


def test_the_main_process_sets_facts_unless_it_would_have_to_wait(runs: dict[str, Run]) -> None:
    at_once, repeated, _ = zip(*runs["swift"][1], strict=True)
    assert len(set(at_once)) == 1
    assert len({*at_once, *repeated}) == 1 + len(repeated)
    assert len({process for process, *_ in runs["linear"][1]}) == len(runs["linear"][1])


def test_the_main_process_finds_out_what_is_skipped(runs: dict[str, Run]) -> None:
    assert [len(runs[strategy][2]) for strategy in ("swift", "linear")] == [1, 3]


def test_no_run_is_bound_to_one_core(runs: dict[str, Run]) -> None:
    assert {cores for _, _, cores in runs["swift"][1]} == {str(len(os.sched_getaffinity(0)))}

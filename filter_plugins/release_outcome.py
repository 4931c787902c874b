"""Filters of a release's end: what went wrong where, what became of each host, and what older code would not survive."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: release_faults
short_description: What stopped a release, host by host
description:
  - Takes the hosts that took part and what they noted when they failed, and returns one entry per cause. A host that was lost on the way is one.
  - C(release_story) in the same file tells people how a release ended, C(release_incompatible) lists the migrations that stand in the way,
    C(release_said) reads what C(release-host) printed, C(release_times) shows how long each phase took.
positional: _input
options:
  _input: {description: Names of the hosts that took part., type: list, elements: str, required: true}
  facts:
    description: Ansible's C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- vars:
    faults: "{{ ['web1', 'web2'] | release_faults(hostvars) }}"
  ansible.builtin.debug:
    msg: "{{ faults | map(attribute='text') | list }}"
"""

RETURN = r"""
_value:
  description: Entries with C(host), C(gate), C(text) and C(log).
  type: list
  elements: dict
"""

Fault = dict[str, Any]
# Everything that a journal or a program said must fit a message.
LONGEST = 1200


def release_said(result: Mapping[str, Any]) -> dict[str, Any]:
    """What release-host printed; where it printed nothing that can be read, that is a failure with the reason."""
    found = release_last_json(result.get("stdout"))
    if "ok" in found:
        return found
    why = str(result.get("stderr") or result.get("msg") or "no answer").strip()[-LONGEST:]
    return {"ok": False, "changed": True, "gate": "host", "text": f"release-host gave no answer that can be read: {why}", "log": []}


def release_faults(hosts: Sequence[str], facts: Mapping[str, Any]) -> list[Fault]:
    """Causes first, then hosts that are gone; the word of the one that counted hosts only when there is nothing else."""
    noted = {host: dict(facts[host].get("__release_fault") or {}) for host in hosts}
    own = [{"host": host, **fault} for host, fault in noted.items() if fault and not fault.get("counted")]
    lost = [
        {"host": host, "gate": "reachable", "text": "the host does not answer any more", "log": []}
        for host in hosts
        if not facts[host].get("__release_met")
    ]
    counted = [{"host": host, **fault} for host, fault in noted.items() if fault.get("counted")]
    return own + lost or counted


def release_incompatible(strange: Sequence[str], judged: Sequence[Mapping[str, Any]]) -> list[str]:
    """Migrations that the database has, the release lacks, and its code would not survive, each with the reason."""
    known: dict[str, Any] = {}
    for host in judged:
        known.update(host)
    found = []
    for name in strange:
        if name not in known:
            found.append(f"{name}: nobody judged it")
        elif known[name].get("reason"):
            found.append(f"{name} (of {known[name].get('version', '?')}): {known[name]['reason']}")
    return found


def release_reason(result: Mapping[str, Any]) -> str:
    """Why a task failed: its message, with what the program said; of a loop, the first item that failed."""
    failed = [item for item in result.get("results") or () if item.get("failed") or item.get("unreachable")]
    source = failed[0] if failed else result
    words = [str(source.get(name) or "").strip()[-LONGEST:] for name in ("msg", "stderr", "module_stderr")]
    return "\n".join(dict.fromkeys(word for word in words if word)) or "no message"


def release_fault(result: Mapping[str, Any], task: str, moved: Mapping[str, Any], probe: Mapping[str, Any]) -> Fault:
    """What a host notes about its failure."""
    if task.startswith("turn |") and moved.get("ok") is False:
        return {"gate": moved.get("gate", ""), "text": moved.get("text", ""), "log": list(moved.get("log") or ())}
    log = list(probe.get("log") or ()) if task.startswith("watch |") else []
    return {"gate": "", "text": f"{task}: {release_reason(result)}", "log": log, "counted": "Everybody" in task}


def release_fault_lines(faults: Sequence[Fault], phase: str) -> list[dict[str, Any]]:
    """Faults as lines of the record of changes."""
    return [{"phase": f"{phase}: stopped", "host": fault["host"], "cause": fault["gate"], "text": str(fault["text"])[:400]} for fault in faults]


def release_closed(row: Mapping[str, Any]) -> str:
    """A closed gate in words."""
    return f"gate {row['gate']}{' on ' + row['host'] if row['host'] else ''}: measured {row['measured']}, limit {row['limit']}"


def release_noted(hosts: Sequence[str], facts: Mapping[str, Any], fact: str, key: str = "") -> dict[str, Any]:
    """What hosts noted, by host; those that noted nothing are left out."""
    noted = {host: facts[host].get(fact) or {} for host in hosts}
    return {host: said[key] if key else said for host, said in noted.items() if (key in said if key else said)}


def release_running(hosts: Sequence[str], facts: Mapping[str, Any], unit: str, version: str) -> list[str]:
    """Hosts on which the unit runs the version already."""
    found = []
    for host in hosts:
        survey = facts[host].get("__release_survey") or {}
        if survey.get("current") == version and (survey.get("running") or {}).get(unit) == version:
            found.append(host)
    return found


def release_touched(hosts: Sequence[str], facts: Mapping[str, Any], tier: str) -> list[str]:
    """Hosts whose switch has begun in this run."""
    return [host for host in hosts if tier in (facts[host].get("__release_touched") or ())]


def release_returned(facts: Mapping[str, Any], web: Sequence[str], workers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What became of each host that had to go back; one that says nothing is not back."""
    silent = {"ok": False, "text": "it does not answer; look at it, then run rollback.yml -e scope=release"}
    found: dict[str, dict[str, Any]] = {}
    for tier, hosts in (("web", web), ("worker", workers)):
        for host in hosts:
            said = dict(facts[host].get(f"__release_returned_{tier}") or silent)
            found[host] = said if found.get(host, {}).get("ok", True) else found[host]
    return found


def release_result(returned: Mapping[str, Mapping[str, Any]]) -> str:
    """In one word: nothing had changed, everything is back, or not."""
    return "failed" if not returned else "taken_back" if all(said.get("ok") for said in returned.values()) else "incomplete"


def release_previous(surveys: Sequence[Mapping[str, Any]], named: Any = "") -> dict[str, str]:
    """The version to go back to: the named one, or the one that most hosts ran before the present one."""
    if named:
        return {"version": str(named), "problem": ""}
    current = sorted({str(survey["current"]) for survey in surveys})
    before = [str(survey["previous"]) for survey in surveys if survey.get("previous")]
    if len(current) > 1:
        return {"version": "", "problem": f"hosts run different releases ({', '.join(current)}); name the one to go to: -e app_version=VERSION"}
    if not before:
        return {"version": "", "problem": f"no release before {[*current, 'the first'][0]} is known; name one: -e app_version=VERSION"}
    return {"version": max(sorted(set(before)), key=before.count), "problem": ""}


def release_last_json(text: Any) -> dict[str, Any]:
    """The last line of a program's output as a dict; empty where it is none, or where there is no output."""
    try:
        found = json.loads(str(text).strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def release_dangerous(missing: Mapping[str, str]) -> list[str]:
    """Migrations that old code would not survive, with the reason."""
    return [f"{name}: {reason}" for name, reason in missing.items() if reason]


def release_verdicts(missing: Mapping[str, str], why: str = "") -> str:
    """Migrations to come, one line each."""
    if not missing:
        return "no migration is missing"
    rows = [f"{name}  {'NOT COMPATIBLE: ' + reason if reason else 'old code survives it'}" for name, reason in missing.items()]
    return "\n".join([*rows, *([why] if why else [])])


def release_verdict_lines(missing: Mapping[str, str]) -> list[dict[str, Any]]:
    """Migrations to come as lines of the record of changes."""
    return [
        {"phase": "migrate", "gate": f"migration {name}", "measured": reason or "compatible", "limit": "compatible", "passed": not reason}
        for name, reason in missing.items()
    ]


def _lines(fault: Fault) -> list[str]:
    head = " ".join(filter(None, [str(fault["host"]), f"gate {fault['gate']}" if fault["gate"] else ""]))
    return [f"{head}: {str(fault['text'])[:LONGEST]}", *(f"    {line}" for line in fault["log"])]


def release_story(faults: Sequence[Fault], what: str, phase: str, back: Mapping[str, Any], untouched: Sequence[str], advice: str) -> str:
    """How a release ended, for people: what stopped it, what became of the hosts, what to do."""
    lines = [f"{what} stopped in phase {phase}."]
    for fault in faults:
        lines += _lines(fault)
    returned = [host for host, said in back.items() if said.get("ok")]
    stuck = {host: said.get("text", "") for host, said in back.items() if not said.get("ok")}
    if returned:
        lines.append(f"Back on the old release: {', '.join(returned)}.")
    lines += [f"NOT BACK: {host}: {text}" for host, text in stuck.items()]
    if untouched:
        lines.append(f"Not touched: {', '.join(untouched)}.")
    return "\n".join([*lines, *([advice] if advice else [])])


def release_times(times: Sequence[Mapping[str, Any]]) -> str:
    """Seconds of each phase, with the time that was spent watching apart."""
    width = max(len(row["phase"]) for row in times)
    total, watched = sum(row["seconds"] for row in times), sum(row["watched"] for row in times)
    rows = [f"{row['phase'].ljust(width)}  {row['seconds']:7.1f} s" + (f", {row['watched']} s of it watching" if row["watched"] else "")
            for row in times]  # fmt: skip
    return "\n".join([*rows, f"{'all'.ljust(width)}  {total:7.1f} s, {total - watched:.1f} s without watching"])


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "release_said": release_said,
            "release_reason": release_reason,
            "release_fault": release_fault,
            "release_faults": release_faults,
            "release_fault_lines": release_fault_lines,
            "release_closed": release_closed,
            "release_noted": release_noted,
            "release_running": release_running,
            "release_touched": release_touched,
            "release_returned": release_returned,
            "release_result": release_result,
            "release_previous": release_previous,
            "release_last_json": release_last_json,
            "release_dangerous": release_dangerous,
            "release_verdicts": release_verdicts,
            "release_verdict_lines": release_verdict_lines,
            "release_incompatible": release_incompatible,
            "release_story": release_story,
            "release_times": release_times,
        }

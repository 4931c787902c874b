"""Filters of the rollout's record: where MOAs and waves stand, what is new, and what people and Prometheus get to see of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: rollout_state
short_description: Where every MOA and every wave stands, summed up from the record
description:
  - Takes the lines of the record (module C(rollout_record)), oldest first. The last line about a MOA or a wave counts.
  - In the same file, C(rollout_established) names those that were proven and not shut out since; C(rollout_agreed) takes the copies that several
    hosts returned and gives the lines they agree on; C(rollout_news) leaves of the wanted entries those that say something new; C(rollout_metrics)
    writes the state for Prometheus; C(rollout_table) writes it for people; C(rollout_events) and C(rollout_result) say the same for the record of
    all changes.
options:
  _input:
    description: Lines of the record.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- vars:
    state: "{{ record.results | rollout_agreed | rollout_state }}"
  ansible.builtin.debug:
    msg: "{{ state.waves['1'].state | default('not started') }}"
"""

RETURN = r"""
_value:
  description: C(moas), by code, and C(waves), by number as text; each with C(state), C(at), C(who), C(wave), C(users) and C(detail).
  type: dict
"""

# What entries say; `at`, `who` and the chain's own fields say nothing new about the thing itself.
SAYS = ("state", "wave", "users", "detail")
KINDS = {"moa": "moas", "wave": "waves"}
# How rollout_after_set_back ends the finding of who was suspended for it.
SET_BACK = "; set back"
MOA_STATES = ("planned", "onboarded", "proven", "failed", "suspended")


class RecordConflict(ValueError):
    """Copies of the record that cannot both be true."""


def _key(entry: Mapping[str, Any]) -> str:
    return str(entry["moa"] if entry["kind"] == "moa" else entry["wave"])


def rollout_state(lines: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last word about each MOA and each wave."""
    state: dict[str, dict[str, Any]] = {"moas": {}, "waves": {}}
    for line in lines:
        if line.get("kind") in KINDS:
            said = {name: line[name] for name in (*SAYS, "at", "who") if name in line}
            state[KINDS[line["kind"]]][_key(line)] = said
    return state


def rollout_established(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Codes of MOAs that were proven once and not shut out since. What a run has just written about them changes nothing of it."""
    codes: dict[str, None] = {}
    for line in lines:
        if line.get("kind") != "moa":
            continue
        if line.get("state") == "proven":
            codes[line["moa"]] = None
        elif line.get("state") == "suspended" or str(line.get("detail") or "").endswith(SET_BACK):
            codes.pop(line["moa"], None)
    return list(codes)


def rollout_agreed(copies: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The longest copy, after making sure that every other one is its beginning.

    Copies are results of the module rollout_record, in a loop with `item.name` as the host.
    """
    answers = [copy for copy in copies if "lines" in copy]
    if not answers:
        raise RecordConflict("rollout_record: no host returned the record of the rollout; bring one of rollout_record_members back")
    names = [str((copy.get("item") or {}).get("name", "?")) for copy in answers]
    damaged = [f"{name}: {copy['problem']}" for name, copy in zip(names, answers, strict=True) if copy.get("problem")]
    if damaged:
        raise RecordConflict(
            f"rollout_record: the record is damaged on {'; '.join(damaged)}; "
            "move the damaged record.jsonl away, it is filled again from the other hosts"
        )
    longest = max(answers, key=lambda copy: len(copy["lines"]))
    for name, copy in zip(names, answers, strict=True):
        if longest["lines"][: len(copy["lines"])] != copy["lines"]:
            other = names[answers.index(longest)]
            raise RecordConflict(
                f"rollout_record: {name} and {other} hold different records; compare record.jsonl on both and move the wrong one away"
            )
    return [dict(line) for line in longest["lines"]]


def rollout_news(entries: Iterable[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]], at: str, who: str) -> list[dict[str, Any]]:
    """Those entries that differ from what the record says already, signed with time and name."""
    state, fresh = rollout_state(lines), []
    for entry in entries:
        # Other kinds are events of their own, like a restore point.
        known = state[KINDS[entry["kind"]]].get(_key(entry)) if entry["kind"] in KINDS else None
        if known is None or any(known.get(name) != entry.get(name) for name in SAYS if name in entry):
            fresh.append({**entry, "at": at, "who": who})
    return fresh


def rollout_events(news: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same entries as lines of the fleet's record (role change), where they stand beside releases and restores."""
    events = []
    for entry in news:
        said = {name: entry[name] for name in ("moa", "wave", "users", "name", "lsn") if name in entry}
        about = entry["moa"] if entry["kind"] == "moa" else f"wave {entry['wave']}" if entry["kind"] == "wave" else entry["name"]
        detail = str(entry.get("detail") or "")
        text = f"{about}: {detail}" if detail else str(about)
        events.append({**said, "phase": str(entry.get("state") or entry["kind"]).replace(" ", "_"), "text": text})
    return events


def rollout_result(lines: Iterable[Mapping[str, Any]], wave: Any, gates: Iterable[Mapping[str, Any]] = ()) -> str:
    """How a run that failed ended, in the words of the fleet's record."""
    if any(not gate["ok"] for gate in gates):
        return "failed"
    now = rollout_state(lines)["waves"].get(str(wave), {}).get("state")
    return {"incomplete": "incomplete", "taken back": "taken_back"}.get(now, "failed")


def wave_state(plan: Mapping[str, Any], wave: Any, state: Mapping[str, Any]) -> str:
    """Complete when every MOA of the wave is proven; whatever order parts of it were done in."""
    codes = [moa["code"] for moa in plan["moas"] if moa["wave"] == int(wave)]
    states = [state["moas"].get(code, {}).get("state", "planned") for code in codes]
    if all(each == "proven" for each in states):
        return "complete"
    if all(each == "suspended" for each in states):
        return "taken back"
    return "not started" if all(each == "planned" for each in states) else "incomplete"


def wave_standing(plan: Mapping[str, Any], wave: Any, state: Mapping[str, Any]) -> str:
    """As wave_state; but a wave whose MOAs are all proven is complete only when its soak has ended well, which the record tells."""
    now = wave_state(plan, wave, state)
    recorded = str(state["waves"].get(str(wave), {}).get("state", "incomplete"))
    return recorded if now == "complete" else now


def _label(value: Any) -> str:
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def _as_lived(state: Mapping[str, Any], status: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    """The state with MOAs that the record calls proven, but the application knows as not on board, called by what they are there."""
    # An application without such a command tells nothing: the record's word counts.
    if not status:
        return dict(state)
    moas = {}
    for code, said in state["moas"].items():
        live = status.get(code, {}).get("state")
        gone = "suspended" if live == "suspended" else "not on board"
        moas[code] = {**said, "state": gone} if said.get("state") == "proven" and live != "onboarded" else said
    return {**state, "moas": moas}


def rollout_wave_entry(
    lines: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
    wave: Any,
    ended: bool = True,
    held: Sequence[str] = (),
    status: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """What to write down about a wave: that it starts, or how it ended; `held` are gates that closed while it was soaking.

    A complete wave does not start again. Where the application's `status` is known, only who is on board there counts.
    """
    state = _as_lived(rollout_state(lines), status)
    now = wave_state(plan, wave, state)
    if not ended and wave_standing(plan, wave, state) == "complete":
        return []
    now = now if ended else "started"
    entry = next(each for each in plan["waves"] if each["wave"] == int(wave))
    missing = [code for code in entry["moas"] if state["moas"].get(code, {}).get("state") != "proven"]
    detail = "" if now in ("complete", "started") else "not on board: " + ", ".join(missing)
    if held and now == "complete":
        now, detail = "incomplete", "closed while soaking: " + ", ".join(held)
    return [{"kind": "wave", "wave": entry["wave"], "state": now, "users": entry["users"], "detail": detail}]


def rollout_touched_waves(moas: Iterable[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What to write down about the waves of these MOAs, as far as the waves were started."""
    state = rollout_state(lines)
    numbers = sorted({moa["wave"] for moa in moas} & {int(number) for number in state["waves"]})
    return [entry for number in numbers for entry in rollout_wave_entry(lines, plan, number)]


def rollout_metrics(lines: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], gates: Iterable[Mapping[str, Any]] = ()) -> str:
    """Text for the node exporter's textfile collector; bounded by the plan and the gates."""
    state = rollout_state(lines)
    rows = ["# HELP obcms_rollout_moa_state 1 for the state that the record gives a MOA.", "# TYPE obcms_rollout_moa_state gauge"]
    for moa in plan["moas"]:
        now = state["moas"].get(moa["code"], {}).get("state", "planned")
        rows.append(f'obcms_rollout_moa_state{{moa="{_label(moa["code"])}",wave="{moa["wave"]}",state="{_label(now)}"}} 1')
    rows += ["# HELP obcms_rollout_wave_complete 1 when every MOA of the wave is proven.", "# TYPE obcms_rollout_wave_complete gauge"]
    for wave in plan["waves"]:
        rows.append(f'obcms_rollout_wave_complete{{wave="{wave["wave"]}"}} {int(wave_standing(plan, wave["wave"], state) == "complete")}')
    rows += ["# HELP obcms_rollout_users_planned Users that the plan gives a MOA.", "# TYPE obcms_rollout_users_planned gauge"]
    rows += [f'obcms_rollout_users_planned{{moa="{_label(moa["code"])}",wave="{moa["wave"]}"}} {moa["users"]}' for moa in plan["moas"]]
    judged = list(gates)
    if judged:
        rows += ["# HELP obcms_rollout_gate_open 1 for a gate that was open when a wave last asked for it.", "# TYPE obcms_rollout_gate_open gauge"]
        rows += [f'obcms_rollout_gate_open{{gate="{_label(gate["gate"])}"}} {int(gate["ok"])}' for gate in judged]
    return "\n".join(rows) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Aligned lines."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def rollout_table(
    plan: Mapping[str, Any],
    lines: Sequence[Mapping[str, Any]],
    status: Mapping[str, Mapping[str, Any]] | None = None,
    wave: Any = "",
    codes: Any = (),
) -> str:
    """MOAs with plan, application and record side by side: all of them, those of a wave, or those named."""
    state, named = rollout_state(lines), codes.split(",") if isinstance(codes, str) else list(codes)
    named, rows = [code for code in named if code], []
    shown = [moa for moa in plan["moas"] if (not named or moa["code"] in named) and (not str(wave) or moa["wave"] == int(wave))]
    for moa in shown:
        known = state["moas"].get(moa["code"], {})
        live = (status or {}).get(moa["code"], {})
        users = f"{live.get('users', 0)}/{moa['users']}"
        rows.append(
            [moa["wave"], moa["code"], live.get("state", "unknown" if status is None else "planned"), known.get("state", "planned"), users]
            + [live.get("users_logged_in", 0), known.get("at", ""), known.get("detail", "")]
        )
    complete = [number for number, entry in state["waves"].items() if entry["state"] == "complete"]
    proven = sum(known.get("state") == "proven" for known in state["moas"].values())
    closing = f"{proven} of {len(plan['moas'])} MOAs proven, {len(complete)} of {len(plan['waves'])} waves complete, {plan['users']} users planned"
    return "\n".join([*table(("wave", "MOA", "application", "record", "users", "logged in", "since", "last finding"), rows), closing])


def rollout_proofs_table(proofs: Iterable[Mapping[str, Any]]) -> str:
    """Proofs, failed ones last."""
    rows = [
        [p["code"], p["detail"], f"{p['seconds']} s", "LEAK" if p["leak"] else "ok" if p["ok"] else "FAILED"]
        for p in sorted(proofs, key=lambda p: not p["ok"])
    ]
    return "\n".join(table(("MOA", "finding", "time", ""), rows))


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "rollout_state": rollout_state,
            "rollout_established": rollout_established,
            "rollout_agreed": rollout_agreed,
            "rollout_news": rollout_news,
            "rollout_events": rollout_events,
            "rollout_result": rollout_result,
            "rollout_wave_entry": rollout_wave_entry,
            "rollout_metrics": rollout_metrics,
            "rollout_touched_waves": rollout_touched_waves,
            "rollout_table": rollout_table,
            "rollout_proofs_table": rollout_proofs_table,
        }

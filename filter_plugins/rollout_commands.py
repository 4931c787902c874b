"""Filters of the rollout's commands: `rollout_command` fills one in for a MOA, others judge what came back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: rollout_command
short_description: One management command of the application, filled in for a MOA
description:
  - Replaces C({code}), C({name}), C({type}), C({wave}) and whatever else O(moa) and O(more) hold, in each word by itself. No shell is involved.
  - In the same file, C(rollout_outcomes) turns results of a loop of such commands into one outcome per MOA; C(rollout_organisations) reads the
    application's status; C(rollout_shares) deals tenants out to the hosts that prove them; C(rollout_entries) makes entries for the record.
positional: _input, moa
options:
  _input:
    description: Words of the command.
    type: list
    elements: str
    required: true
  moa:
    description: The MOA.
    type: dict
    required: true
  more:
    description: Further values.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- ansible.builtin.command:
    argv: "{{ ['obcms-manage'] + (['onboard_moa', '{code}', '--name', '{name}'] | rollout_command(item)) }}"
  loop: "{{ moas }}"
"""

RETURN = r"""
_value:
  description: Words, filled in.
  type: list
  elements: str
"""

# A result says whether something changed in one of these fields.
CHANGED_FIELDS = ("changed", "created")
# What the application says of welcome mails that did not go out, or of which nobody can know.
MAIL_MISSING = ("none", "sending")
ERROR_LINE = re.compile(r"[\w.]*(Error|Exception)\b.*: ")


class CommandError(ValueError):
    """A command that cannot be filled in."""


def rollout_command(words: Sequence[str], moa: Mapping[str, Any], more: Mapping[str, Any] | None = None) -> list[str]:
    """The words with their placeholders replaced."""
    values = {**moa, **(more or {})}
    if "code" in moa:
        values["lower"] = str(moa["code"]).lower()
        values["app_type"] = values.pop("types", {}).get(moa.get("type"), moa.get("type"))
        values["proof_user"] = account_of(str(values.get("proof_user", "")), str(moa["code"]))
    filled = []
    for word in words:
        try:
            filled.append(string.Formatter().vformat(str(word), (), values))
        except (KeyError, IndexError, ValueError) as error:
            raise CommandError(
                f"rollout_command: {word!r} of the command {words[0]!r} cannot be filled in ({error}); known are {', '.join(sorted(values))}"
            ) from error
    return filled


def account_of(template: str, code: str) -> str:
    """Name of the proof account of a MOA."""
    return template.format(code=code, lower=code.lower())


def rollout_batches(words: Sequence[str], moas: Sequence[Mapping[str, Any]], more: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Commands for all MOAs: a single one where a word of it is C({codes}) or C({lowers}), else one each. Each names its MOAs in C(codes)."""
    for mark, codes in (("{codes}", [moa["code"] for moa in moas]), ("{lowers}", [moa["code"].lower() for moa in moas])):
        if mark in words and codes:
            place = list(words).index(mark)
            return [{"codes": [moa["code"] for moa in moas], "argv": [*words[:place], *codes, *words[place + 1 :]]}]
    return [{"codes": [moa["code"]], "argv": rollout_command(words, moa, more)} for moa in moas]


def rollout_batch_outcomes(results: Iterable[Mapping[str, Any]], field: str = "organisations") -> list[dict[str, Any]]:
    """One outcome per MOA from results of rollout_batches.

    A batch answers with a list of C({code, changed, error}); one who is not in it counts as failed.
    """
    outcomes: list[dict[str, Any]] = []
    for result in results:
        if result.get("skipped"):
            continue
        codes, answer = result["item"]["codes"], answer_of(result)
        ok = result.get("rc") == 0 and not result.get("unreachable")
        told = {str(row.get("code")): row for row in answer.get(field, ()) if isinstance(row, dict)}
        for code in codes:
            said = told.get(code, answer if len(codes) == 1 else {})
            good = ok if len(codes) == 1 and code not in told else code in told and not said.get("error")
            reason = str(said.get("error") or (_reason(result) if not ok else "the command did not tell what became of it"))
            changed = any(bool(said.get(name)) for name in CHANGED_FIELDS)
            outcomes.append({"code": code, "ok": good, "changed": changed, "detail": "" if good else reason, "answer": said})
    return outcomes


def answer_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object that the command printed; empty where it printed none."""
    for line in reversed(str(result.get("stdout")).strip().splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        return found if isinstance(found, dict) else {}
    return {}


def _reason(result: Mapping[str, Any]) -> str:
    lines = [line.strip() for line in str(result.get("stderr") or result.get("msg") or "").splitlines() if line.strip()]
    if not lines:
        return f"exit status {result.get('rc', '?')} and not a word"
    # A traceback ends with its error, which may go on for several lines.
    errors = [line for line in lines if ERROR_LINE.match(line)]
    return (errors or lines)[-1].removeprefix("CommandError: ")


def _again(answer: Mapping[str, Any]) -> str:
    """What an operator adds to send mails once more that perhaps went out: the application only knows its own option."""
    mails = answer.get("mails")
    return " (here: -e again=true)" if isinstance(mails, dict) and mails.get("unconfirmed") else ""


def rollout_changed(result: Mapping[str, Any], fields: Sequence[str] = CHANGED_FIELDS, field: str = "organisations") -> bool:
    """Whether the command says that it changed something, or one of the several MOAs it was for."""
    answer = answer_of(result)
    rows = [answer, *(row for row in answer.get(field, ()) if isinstance(row, dict))]
    return any(bool(row.get(name)) for row in rows for name in fields)


def rollout_outcomes(results: Iterable[Mapping[str, Any]], code: str = "code") -> list[dict[str, Any]]:
    """One outcome per MOA: code, ok, changed, detail, answer."""
    outcomes = []
    for result in results:
        if result.get("skipped"):
            continue
        ok = result.get("rc") == 0 and not result.get("unreachable")
        outcomes.append(
            {
                "code": result["item"][code],
                "ok": ok,
                "changed": rollout_changed(result),
                "detail": "" if ok else _reason(result) + _again(answer_of(result)),
                "answer": answer_of(result),
            }
        )
    return outcomes


def rollout_organisations(result: Mapping[str, Any] | None, needed: bool = True, field: str = "organisations") -> dict[str, dict[str, Any]]:
    """The application's own status by code; nothing where it has no command for it, or is down and not needed."""
    if not result or result.get("skipped") or (result.get("rc") != 0 and not needed):
        return {}
    if result.get("rc") != 0:
        raise CommandError(f"rollout_organisations: the application did not tell where its organisations stand: {_reason(result)}")
    return {str(row["code"]): row for row in answer_of(result).get(field, [])}


def rollout_passwords(moas: Iterable[Mapping[str, Any]], secret: str) -> dict[str, str]:
    """A password for the proof account of each MOA. It follows from the secret: nothing has to be kept, and a second run sets the same one."""
    return {
        moa["code"]: base64.urlsafe_b64encode(hmac.digest(secret.encode(), f"rollout proof {moa['code']}".encode(), hashlib.sha256))
        .decode()
        .rstrip("=")
        for moa in moas
    }


def rollout_proof_accounts(moas: Iterable[Mapping[str, Any]], passwords: Mapping[str, str], username: str) -> dict[str, str]:
    """Name to password of the proof accounts, as the application's command reads them from a file."""
    return {account_of(username, moa["code"]): passwords[moa["code"]] for moa in moas}


def rollout_tenants(
    moas: Iterable[Mapping[str, Any]], status: Mapping[str, Mapping[str, Any]], passwords: Mapping[str, str], username: str
) -> list[dict[str, Any]]:
    """What tenant_proof needs to know of each MOA: its account, a record of its own, a record of another's."""
    tenants = []
    for moa in moas:
        code = moa["code"]
        others = [row["newest_record"] for other, row in sorted(status.items()) if other != code and row.get("newest_record") is not None]
        tenants.append(
            {
                "code": code,
                "username": account_of(username, code),
                "password": passwords[code],
                "own": status.get(code, {}).get("newest_record"),
                "other": others[-1] if others else None,
            }
        )
    return tenants


def rollout_shares(tenants: Sequence[Mapping[str, Any]], clients: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tenants dealt out evenly: each client address has a limit of logins of its own at the balancer."""
    if not clients:
        raise CommandError("rollout_shares: no host is there to prove a login from; name some in rollout_proof_clients")
    shares = [{"name": client["name"], "tenants": list(tenants[place :: len(clients)])} for place, client in enumerate(clients)]
    return [share for share in shares if share["tenants"]]


def rollout_proofs(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Proofs of all clients in one list; a client that was lost gives a failed one for each of its tenants."""
    proofs: list[dict[str, Any]] = []
    for result in results:
        if "proofs" in result:
            proofs += result["proofs"]
            continue
        reason = f"{result['item']['name']}, from which it is proven, did not answer"
        proofs += [{"code": tenant["code"], "ok": False, "leak": False, "detail": reason, "seconds": 0} for tenant in result["item"]["tenants"]]
    return proofs


def rollout_unproven(moas: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Stands in for proofs where the application has no account to log in with."""
    return [{"code": moa["code"], "ok": True, "leak": False, "detail": "on board; not proven by a login", "seconds": 0} for moa in moas]


def rollout_set_back(
    proofs: Iterable[Mapping[str, Any]],
    moas: Iterable[Mapping[str, Any]],
    established: Sequence[str],
    outcomes: Iterable[Mapping[str, Any]] = (),
    status: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """MOAs to suspend: who saw what is another's, at once; who is new and failed its proof, or its command half way (on board, but mails missing).

    An established MOA is not shut out by a bad moment.
    """
    leaving = {proof["code"] for proof in proofs if proof["leak"] or (not proof["ok"] and proof["code"] not in established)}
    half = {outcome["code"] for outcome in outcomes if not outcome["ok"] and outcome["code"] not in established}
    leaving |= {code for code in half if (status or {}).get(code, {}).get("state") == "onboarded"}
    return [dict(moa) for moa in moas if moa["code"] in leaving]


def rollout_after_set_back(
    proofs: Iterable[Mapping[str, Any]], outcomes: Iterable[Mapping[str, Any]], suspended: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Proofs, and commands that failed, with what became of setting back: whoever is still inside is named as such."""
    ends = {outcome["code"]: outcome for outcome in suspended}
    judged = []
    for found in [*proofs, *(outcome for outcome in outcomes if not outcome["ok"])]:
        end = ends.get(found["code"])
        more = "" if end is None else "; set back" if end["ok"] else f"; STILL ON BOARD, setting it back failed: {end['detail']}"
        judged.append({**found, "detail": f"{found['detail']}{more}"})
    return judged


def rollout_reasoned(outcomes: Iterable[Mapping[str, Any]], reason: str) -> list[dict[str, Any]]:
    """Outcomes with the reason why it was done; what went wrong stays beside it."""
    return [{**outcome, "detail": reason if outcome["ok"] else f"{reason}; {outcome['detail']}"} for outcome in outcomes]


def rollout_shut_out(outcomes: Iterable[Mapping[str, Any]]) -> str:
    """Who was suspended and who was not, in words, as long as neither is written down."""
    told = list(outcomes)
    ended = [outcome["code"] for outcome in told if outcome["ok"]]
    inside = [f"{outcome['code']} ({outcome['detail']})" for outcome in told if not outcome["ok"]]
    words = [f"access ended for {', '.join(ended)}"] if ended else []
    words += [f"NOT suspended: {', '.join(inside)}, run it again at once"] if inside else []
    return "; ".join(words) or "nobody was suspended, run it again at once"


def rollout_whole(settled: Sequence[str], status: Mapping[str, Mapping[str, Any]], listed: Mapping[str, int]) -> list[str]:
    """Codes of settled MOAs that a run that is resumed may leave alone; the record's word counts for an application that tells nothing.

    A second run of a wave may have been cut off half way through a longer list: the record calls the MOA proven from the run before.
    """
    return [code for code in settled if not status or _is_whole(status.get(code, {}), int(listed.get(code, 0)))]


def _is_whole(live: Mapping[str, Any], listed: int) -> bool:
    """On board, with all accounts of its list, and no mail to any of them is missing."""
    mails = live.get("welcome_mails") or {}
    missing = sum(int(mails.get(state, 0)) for state in MAIL_MISSING)
    return live.get("state") == "onboarded" and int(live.get("users", listed)) >= listed and not missing


def rollout_unsealed(moas: Iterable[Mapping[str, Any]], status: Mapping[str, Mapping[str, Any]], lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """Codes of MOAs that have users, but of which the record never said "onboarded": a run was cut off before their passwords were put away."""
    told = {line["moa"] for line in lines if line.get("kind") == "moa" and line.get("state") in ("onboarded", "proven")}
    return [moa["code"] for moa in moas if status.get(moa["code"], {}).get("users") and moa["code"] not in told]


def rollout_first_answering(members: Sequence[Mapping[str, Any]], hostvars: Mapping[str, Any]) -> str:
    """Name of the first application host that answers: it runs the application's commands."""
    for member in members:
        if hostvars[member["name"]].get("__rollout_ping", {}).get("ping") == "pong":
            return str(member["name"])
    names = ", ".join(str(member["name"]) for member in members) or "none"
    raise CommandError(f"rollout: no application host answers over SSH (asked: {names}); the application's commands run on one of them")


def rollout_present(
    moas: Iterable[Mapping[str, Any]], status: Mapping[str, Mapping[str, Any]], settled: Sequence[str], states: Sequence[str] = ("onboarded",)
) -> list[dict[str, Any]]:
    """MOAs that the application knows in one of the states; the record answers for an application that tells nothing."""
    return [dict(moa) for moa in moas if (status[moa["code"]]["state"] in states if moa["code"] in status else not status and moa["code"] in settled)]


def rollout_still_inside(
    moas: Iterable[Mapping[str, Any]], status: Mapping[str, Mapping[str, Any]], proofs: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Who is not out, in words: on board as the application tells, or an account that came in or could not be tried."""
    inside = [f"{moa['code']} is still on board" for moa in moas if status.get(moa["code"], {}).get("state") == "onboarded"]
    return inside + [f"{proof['code']}: {proof['detail']}" for proof in proofs if not proof["ok"]]


def rollout_preview(moas: Iterable[Mapping[str, Any]], status: Mapping[str, Mapping[str, Any]], listed: Mapping[str, int]) -> str:
    """What a run would do to each MOA."""
    lines = []
    for moa in moas:
        live = status.get(moa["code"], {})
        state, users = str(live.get("state")), live.get("users", 0)
        verb = {"onboarded": "is on board, would be brought in line", "suspended": "would come back"}.get(state, "would come on board")
        lines.append(
            f"{moa['code']} {verb}; users now {users}, in the list {listed.get(moa['code'], 'none')}, planned {moa['users']}; proof by a login"
        )
    return "\n".join(lines) or "nothing: every organisation of this run is on board and proven"


def rollout_entries(
    moas: Iterable[Mapping[str, Any]], outcomes: Iterable[Mapping[str, Any]], good: str, bad: str = "failed", settled: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Entries for the record from outcomes or proofs; nothing for settled MOAs with which nothing happened."""
    known = {moa["code"]: moa for moa in moas}
    return [
        {
            "kind": "moa",
            "moa": outcome["code"],
            "wave": known[outcome["code"]]["wave"],
            "state": good if outcome["ok"] else bad,
            "users": known[outcome["code"]]["users"],
            "detail": outcome["detail"],
        }
        for outcome in outcomes
        if outcome["code"] not in settled or not outcome["ok"] or outcome.get("changed")
    ]


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {
            "rollout_command": rollout_command,
            "rollout_changed": rollout_changed,
            "rollout_outcomes": rollout_outcomes,
            "rollout_organisations": rollout_organisations,
            "rollout_passwords": rollout_passwords,
            "rollout_tenants": rollout_tenants,
            "rollout_shares": rollout_shares,
            "rollout_proofs": rollout_proofs,
            "rollout_unproven": rollout_unproven,
            "rollout_set_back": rollout_set_back,
            "rollout_after_set_back": rollout_after_set_back,
            "rollout_reasoned": rollout_reasoned,
            "rollout_shut_out": rollout_shut_out,
            "rollout_whole": rollout_whole,
            "rollout_unsealed": rollout_unsealed,
            "rollout_first_answering": rollout_first_answering,
            "rollout_batches": rollout_batches,
            "rollout_batch_outcomes": rollout_batch_outcomes,
            "rollout_proof_accounts": rollout_proof_accounts,
            "rollout_present": rollout_present,
            "rollout_still_inside": rollout_still_inside,
            "rollout_preview": rollout_preview,
            "rollout_entries": rollout_entries,
        }

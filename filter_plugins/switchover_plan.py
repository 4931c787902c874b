"""Filter switchover_plan: may the database leader move, and to whom?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: switchover_plan
short_description: Best replica to lead next, or why none may
description:
  - Takes what members of the cluster say about it (Patroni's C(/cluster), one answer each) and chooses the replica that leads next.
  - The best replica is one that commits wait for, with the least to catch up; C(to) names another one.
  - A cluster in which a member does not stream, or which somebody has paused, is not healthy enough for a planned move.
positional: _input, members, to, max_lag
options:
  _input: {description: 'Answers of members; empty ones are left out.', type: list, elements: dict, required: true}
  members: {description: 'All members, with C(name).', type: list, elements: dict, required: true}
  to: {description: Name of the member that is to lead; empty for the best one., type: str, default: ""}
  max_lag: {description: Bytes that the chosen one may still have to receive., type: int, default: 16777216}
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ (asked | map(attribute='json') | switchover_plan(database_members)).candidate }}"
"""

RETURN = r"""
_value:
  description: C(leader), C(candidate), and C(refusal), which is empty when the leader may move.
  type: dict
"""

SYNCHRONOUS = ("sync_standby", "quorum_standby")


def switchover_plan(
    answers: Iterable[Mapping[str, Any]], members: Sequence[Mapping[str, Any]], to: str = "", max_lag: int = 16 * 2**20
) -> dict[str, str]:
    """See DOCUMENTATION."""
    told = [answer for answer in answers if answer and answer.get("members")]
    cluster: Mapping[str, Any] = told[0] if told else {}
    rows = {str(row["name"]): row for row in cluster.get("members", [])}
    leaders = [name for name, row in rows.items() if row.get("role") == "leader"]
    leader = leaders[0] if len(leaders) == 1 else ""
    refusal = _unhealthy(cluster, rows, leaders, [str(member["name"]) for member in members])
    candidate = "" if refusal else to or _best(rows)
    return {"leader": leader, "candidate": candidate, "refusal": refusal or _unfit(rows, leader, candidate, max_lag)}


def _unhealthy(cluster: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], leaders: Sequence[str], names: Sequence[str]) -> str:
    if not rows:
        return "no member of the database cluster answers; see obcms-patronictl list on a database host"
    if len(leaders) != 1:
        return f"the cluster has {len(leaders)} leaders ({', '.join(leaders) or 'none'}), one is needed; see docs/runbooks/DatabaseNoLeader.md"
    if cluster.get("pause"):
        return "failover is paused; obcms-patronictl resume on a database host, see docs/runbooks/FailoverPaused.md"
    state = {name: str(rows[name].get("state", "unknown")) if name in rows else "missing" for name in names}
    bad = [f"{name}: {state[name]}" for name in names if name not in leaders and state[name] != "streaming"]
    if bad:
        return f"every replica must stream first, but {'; '.join(bad)}; see docs/runbooks/ReplicationNotStreaming.md"
    if not any(row.get("role") in SYNCHRONOUS for row in rows.values()):
        return "commits wait for no replica, so none is known to have them all; see obcms-patronictl list"
    return ""


def _best(rows: Mapping[str, Mapping[str, Any]]) -> str:
    ready = [name for name, row in rows.items() if row.get("role") in SYNCHRONOUS and not (row.get("tags") or {}).get("nofailover")]
    return min(ready, key=lambda name: (_lag(rows[name]), name), default="")


def _lag(row: Mapping[str, Any]) -> float:
    return int(row["lag"]) if str(row.get("lag")).isdigit() else math.inf


def _unfit(rows: Mapping[str, Mapping[str, Any]], leader: str, candidate: str, max_lag: int) -> str:
    replicas = ", ".join(sorted(name for name in rows if name != leader))
    if not candidate:
        return f"no replica may lead: those that commits wait for are kept from it (tag nofailover); replicas are {replicas}"
    if candidate == leader:
        return f"{candidate} leads already; replicas are {replicas}"
    if candidate not in rows:
        return f"-e to={candidate} is no member of the cluster; replicas are {replicas}"
    if rows[candidate].get("role") not in SYNCHRONOUS:
        return f"{candidate} is not one that commits wait for; choose another with -e to=..., or leave the choice to the playbook"
    if _lag(rows[candidate]) > max_lag:
        return f"{candidate} has {rows[candidate].get('lag')} bytes to catch up, {max_lag} are allowed; wait, see docs/runbooks/ReplicationLagHigh.md"
    return ""


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"switchover_plan": switchover_plan}

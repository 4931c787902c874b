"""Filter restore_fit: which release of the application fits a database that went back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DOCUMENTATION = r"""
name: restore_fit
short_description: Release that fits the migrations of a restored database
description:
  - Compares the migrations that the database has (table C(django_migrations)) with those that a release knows. A release fits when it knows neither
    fewer nor more.
  - Migrations of an application that a release does not have at all are left out; it may have been removed long ago.
positional: _input, releases, wanted, migrate
options:
  _input: {description: 'Migrations that the database has, C(app.name).', type: list, elements: str, required: true}
  releases: {description: Migrations that each kept release knows by version., type: dict, required: true}
  wanted: {description: Version that is to run., type: str, required: true}
  migrate: {description: Whether what is missing may be applied at the end., type: bool, default: false}
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ ['work.0001'] | restore_fit({'1.0.0': ['work.0001'], '1.1.0': ['work.0001', 'work.0002']}, '1.1.0') }}"
"""

RETURN = r"""
_value:
  description: C(problem), empty when the wanted release may run; C(missing), what has to be applied; C(fitting), versions that fit.
  type: dict
"""

SHOWN = 4


def restore_fit(applied: Sequence[str], releases: Mapping[str, Sequence[str]], wanted: str, migrate: bool = False) -> dict[str, Any]:
    """See DOCUMENTATION."""
    fitting = [version for version, known in releases.items() if not any(_differ(applied, known))]
    if wanted not in releases:
        problem = f"release {wanted} is not kept on the application hosts; kept are {_listed(releases)}"
        return {"problem": problem, "missing": [], "fitting": fitting}
    unknown, missing = _differ(applied, releases[wanted])
    problem = ""
    if unknown:
        problem = f"the database is ahead of release {wanted}: it has {_listed(unknown)}, which that release does not know"
    elif missing and not migrate:
        problem = f"the database is behind release {wanted}: it lacks {_listed(missing)}"
    if problem:
        ways = [f"-e app_version={version} -e resume=true runs a release that fits" for version in fitting]
        ways += ["-e migrate=true -e resume=true applies them at the end"] if missing and not unknown else []
        ways = ways or ["no kept release fits: deploy one that does, or go back"]
        problem = "; ".join([problem, *ways, "-e abandon=true brings the old state back"])
    return {"problem": problem, "missing": missing, "fitting": fitting}


def _differ(applied: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """What the database has and the release does not know; what the release knows and the database lacks."""
    apps = {name.split(".")[0] for name in known}
    return sorted({name for name in applied if name.split(".")[0] in apps} - set(known)), sorted(set(known) - set(applied))


def _listed(names: Any) -> str:
    found = sorted(names)
    return ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "") if found else "none"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Any]:
        return {"restore_fit": restore_fit}

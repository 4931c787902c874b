#!/usr/bin/python
"""What of the operating system waits on this host: packages, a reboot; and what runs, so that one can tell whether all of it is back."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
module: host_updates
short_description: Pending packages, reasons for a reboot, and what runs
description:
  - Tells which packages an upgrade would change, why the host needs a reboot, which enabled services run, which units have failed, and which start
    of the host this is. Changes nothing but, with O(refresh), apt's lists.
  - A reboot is needed for a newer kernel, for what packages ask (C(/run/reboot-required)), and for programs that run from files which an upgrade
    has replaced.
  - Needs Python 3.9 and nothing else.
options:
  refresh:
    description: Fetch apt's lists first.
    type: bool
    default: false
  container:
    description: Whether the kernel is another machine's.
    type: bool
    default: false
author: the OBCMS platform team
"""

EXAMPLES = r"""
- name: Look what waits
  host_updates:
    refresh: true
  register: look
"""

RETURN = r"""
pending: {description: Packages that an upgrade would change., returned: always, type: list}
reboot: {description: Why the host needs a reboot; empty when it does not., returned: always, type: list}
running: {description: Enabled services that run., returned: always, type: list}
failed_units: {description: Failed units., returned: always, type: list}
boot: {description: Which start of the host this is., returned: always, type: str}
"""

# Files of programs; what else is deleted while it is in use (logs, caches, shared memory) asks for no restart.
PROGRAM = re.compile(r"^(/usr)?/(bin|sbin|lib|lib64|libexec)/")


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout


def pending(simulation: str) -> list[str]:
    """Packages that `apt-get --simulate dist-upgrade` would install."""
    return sorted({line.split()[1] for line in simulation.splitlines() if line.startswith("Inst ")})


def version_key(name: str) -> list[tuple[int, str]]:
    """Orders 6.1.0-9 before 6.1.0-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def newer_kernel(running: str, installed: Iterable[str]) -> str:
    """The installed kernel that a reboot would start, when it is not the running one."""
    newest = max(installed, key=version_key, default=running)
    return newest if version_key(newest) > version_key(running) else ""


def replaced(maps: str) -> list[str]:
    """Program files that a process uses although they are gone, from its /proc/PID/maps."""
    found = set()
    for line in maps.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5].endswith(" (deleted)") and PROGRAM.match(fields[5]):
            found.add(fields[5][: -len(" (deleted)")])
    return sorted(found)


def outdated() -> list[str]:
    """Names of processes that run from replaced files."""
    names = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if replaced((place / "maps").read_text(errors="replace")):
                names.add((place / "comm").read_text().strip())
        except OSError:  # it has ended meanwhile
            continue
    return sorted(names)


def reasons(container: bool) -> list[str]:
    found = []
    packages = Path("/run/reboot-required.pkgs")
    if Path("/run/reboot-required").exists():
        asked = ", ".join(sorted(set(packages.read_text().split()))) if packages.exists() else "a package"
        found.append(f"{asked} asks for it")
    kernel = "" if container else newer_kernel(os.uname().release, [path.name[len("vmlinuz-") :] for path in Path("/boot").glob("vmlinuz-*")])
    if kernel:
        found.append(f"kernel {kernel} waits, {os.uname().release} runs")
    names = outdated()
    if names:
        found.append(f"replaced files are in use by {', '.join(names)}")
    return found


def running(shown: str) -> list[str]:
    """Enabled units of `systemctl show`, one paragraph each."""
    names = []
    for block in shown.split("\n\n"):
        unit = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if unit.get("UnitFileState") == "enabled":
            names.append(unit["Id"])
    return sorted(names)


def boot() -> str:
    """A container keeps the boot id of its machine, but its first process is a new one."""
    start = Path("/proc/1/stat").read_text().rsplit(")", 1)[1].split()[19]
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {start}"


def look(refresh: bool, container: bool) -> dict[str, Any]:
    if refresh:
        run("apt-get", "--quiet", "update")
    shown = run("systemctl", "show", "--type=service", "--state=running", "--property=Id", "--property=UnitFileState", "*.service")
    failed = run("systemctl", "list-units", "--state=failed", "--plain", "--no-legend")
    return {
        "changed": False,
        "pending": pending(run("apt-get", "--simulate", "--quiet", "dist-upgrade")),
        "reboot": reasons(container),
        "running": running(shown),
        # Not "failed": that is Ansible's own word for a task that failed.
        "failed_units": [line.split()[0] for line in failed.splitlines() if line.strip()],
        "boot": boot(),
    }


def main() -> None:
    """Entry point of the Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    specification = {"refresh": {"type": "bool", "default": False}, "container": {"type": "bool", "default": False}}
    module = AnsibleModule(argument_spec=specification, supports_check_mode=True)
    try:
        module.exit_json(**look(module.params["refresh"], module.params["container"]))
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=f"host_updates: {' '.join(error.cmd)}: exit status {error.returncode}: {(error.stderr or '').strip()[-400:]}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Whether `site.yml --check --diff` goes through on a fleet of bare hosts, and leaves them bare. The hosts of the lab are made anew for it."""

from __future__ import annotations

import argparse
import sys

from report import Series, docker, image, lab, write

# Not what any login leaves (journal, caches, its own directory for modules) and what the host writes by itself.
LEFT_BY_ANYONE = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache", "/var/lib/systemd", "/home/ops/.ansible")
MARK = "touch /run/mark && dpkg-query --show | sha256sum"
CHANGED = " ".join(["find / -xdev -newer /run/mark -type f", *(f"-not -path '{path}/*'" for path in LEFT_BY_ANYONE)])


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    project = lab.project_name()
    names = [str(host["name"]) for host in lab.wanted_hosts()]
    lab.lose(project, everything=True)
    lab.make_secrets()
    image.build()
    lab.start_hosts()

    def ask(command: str) -> dict[str, str]:
        return {name: docker("exec", f"{project}-{name}", "sh", "-c", command) for name in names}

    packages = ask(MARK)
    passed, untouched = Series("exit status of the playbook", 0, ""), Series("files changed or packages installed on any host", 0, "")
    notes = []
    try:
        notes.append(f"It announces {lab.provision('--check', '--diff')}.")
        passed.values.append(0)
    except image.LabError as error:
        passed.values.append(1)
        passed.failures.append(str(error))
    files = ask(CHANGED)
    untouched.failures = [f"{name}: {path}" for name, found in files.items() for path in found.splitlines()]
    untouched.failures += [f"{name}: packages" for name, found in ask(MARK).items() if found != packages[name]]
    untouched.values.append(len(untouched.failures))
    return write("check_bare", __doc__ or "", [passed, untouched], notes)


if __name__ == "__main__":
    sys.exit(main())

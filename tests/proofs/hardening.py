#!/usr/bin/env python3
"""How well units are fenced in, what Lynis says of a host before and after, and what sslyze and gixy find on the public side."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from report import PROJECT, Series, hosts, lab, on, write

TOOLS = PROJECT / ".cache" / "tools"
BARE = "obcms-proof-bare"
# Units that we made or changed, with their exposure and whether they begin as root.
UNITS = r"""
cd /etc/systemd/system; for u in $(ls | sed -n 's/\.service\(\.d\)\?$//p' | sort -u); do
  [ "$(systemctl show -P LoadState $u)" = loaded ] || continue
  # Not aliases, nor what only the lab's image has.
  case $u in *@ | lab-*) continue ;; esac; [ ! -L $u.service ] || continue
  user=$(systemctl show -P User $u); dynamic=$(systemctl show -P DynamicUser $u)
  score=$(systemd-analyze security --no-pager $u.service 2>/dev/null | tail -n 1 | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
  root=no; { [ -z "$user" ] || [ "$user" = root ]; } && [ "$dynamic" = no ] && root=yes
  echo "$u $root ${score:-10}"
done
"""
# What nobody inside a container can change: the kernel's settings and its audit, USB.
CONTAINER = ("KRNL-6000", "ACCT-9628", "USB-3000")
# They ask for what accounts with rights of their own replace (requirepass), for what breaks failovers (rename-command CONFIG), and for a cache
# that only its own host reaches.
REDIS = ("DBS-1884", "DBS-1886", "DBS-1888")
# One host of each kind.
LOOKED_AT = ("lb1", "web1", "worker1", "db1", "redis1", "mon1", "backup1")
WANTED = 85
LYNIS = """
export DEBIAN_FRONTEND=noninteractive
command -v lynis >/dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends lynis; } >/dev/null 2>&1
printf 'skip-test=%s\\n' SKIPPED > /run/lynis.prf
nice -n 10 lynis audit system --profile /run/lynis.prf --quick --no-colors --quiet >/dev/null 2>&1
sed -n 's/^hardening_index=//p' /var/log/lynis-report.dat; grep -c '^warning' /var/log/lynis-report.dat
"""
SSLYZE = ("--mozilla_config=intermediate", "--heartbleed", "--openssl_ccs", "--robot", "--reneg", "--compression", "--fallback", "--early_data")


def lynis(host: str | None) -> tuple[int, int]:
    """Hardening index and warnings of a lab host, or of a container of the same image that nobody hardened."""
    script = LYNIS.replace("SKIPPED", " ".join(CONTAINER + REDIS))
    if host:
        text = on(host, script, check=False, timeout=900)
    else:
        hosts.up(BARE, [{"name": "bare", "memory_mb": 512}])
        try:
            command = ["docker", "exec", f"{BARE}-bare", "bash", "-c", script]
            text = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900).stdout
        finally:
            hosts.down(BARE)
    index, warnings = text.split()[-2:]
    return int(index), int(warnings)


def tools() -> None:
    """sslyze and gixy (gixy-ng, its maintained fork) in an environment of their own."""
    if not (TOOLS / "bin" / "gixy").exists():
        subprocess.run([sys.executable, "-m", "venv", str(TOOLS)], check=True)
        subprocess.run([str(TOOLS / "bin" / "pip"), "--quiet", "install", "sslyze", "gixy-ng"], check=True)


def public(address: str, domain: str, authority: Path) -> list[str]:
    """What sslyze finds at a balancer that is not as Mozilla's intermediate profile wants it."""
    command = [str(TOOLS / "bin" / "sslyze"), *SSLYZE, f"--certinfo_ca_file={authority}", f"{domain}:443" + "{" + address + "}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    lines = [line.strip() for line in done.stdout.splitlines()]
    found = [
        line
        for line in lines
        if re.search(r"VULNERABLE|FAILED|^Error|^\* (certificate|cipher|tls_|ecdh|hsts|rsa)", line)
        and "OK -" not in line
        # The lab's authority is known to its own hosts, not to the makers of browsers.
        and not re.match(r"(?!Supplied)\S.* CA Store \(.*NOT Trusted", line)
    ]
    return found or ([] if any("OK - Not vulnerable" in line for line in lines) else ["sslyze reached nobody"])


def gixy(folder: Path) -> list[str]:
    """What gixy finds in the configuration of a balancer."""
    path = folder / "nginx.conf"
    path.write_text(on("lb1", "cat /etc/nginx/nginx.conf"))
    (folder / "mime.types").write_text(on("lb1", "cat /etc/nginx/mime.types"))
    path.write_text(path.read_text().replace("/etc/nginx/mime.types", str(folder / "mime.types")))
    done = subprocess.run([str(TOOLS / "bin" / "gixy"), "-f", "json", str(path)], capture_output=True, text=True, check=False)
    return [f"{found['severity']}: {found['plugin']}: {found['reason']}" for found in json.loads(done.stdout or "[]")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default=",".join(LOOKED_AT), help="hosts that Lynis looks at (default: one of each kind)")
    looked_at = parser.parse_args().hosts.split(",")
    tools()
    ours, root = Series("exposure of units with an account of their own", 3.0, ""), Series("exposure of units that begin as root", 5.0, "")
    fleet = lab.wanted_hosts()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda host: on(host["name"], UNITS, timeout=300), fleet))
    worst: dict[str, float] = {}
    for host, text in zip(fleet, answers, strict=True):
        for unit, begins, score in (line.split() for line in text.splitlines()):
            series = root if begins == "yes" else ours
            series.values.append(float(score))
            worst[unit] = max(worst.get(unit, 0.0), float(score))
            if float(score) > series.limit:
                series.failures.append(f"{host['name']}: {unit} {score}")
    before, after = lynis(None), {host: lynis(host) for host in looked_at}
    index = Series(f"points that Lynis' index is below {WANTED}", 0, "points", [float(max(0, WANTED - each[0])) for each in after.values()])
    domain = "obcms.lab.internal"
    folder = PROJECT / ".cache" / "hardening"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.crt").write_text(on("lb1", "cat /etc/obcms/pki/ca.crt"))
    found = Series("findings of sslyze at the balancers", 0, "findings")
    for host in fleet:
        if host["name"].startswith("lb"):
            found.failures += [f"{host['name']}: {line}" for line in public(host["address"], domain, folder / "ca.crt")]
    found.values.append(float(len(found.failures)))
    nginx = Series("findings of gixy", 0, "findings", failures=gixy(folder))
    nginx.values.append(float(len(nginx.failures)))
    shown = ", ".join(f"{unit} {score:.1f}" for unit, score in sorted(worst.items(), key=lambda each: -each[1]))
    notes = [
        f"Lynis, index and warnings: {', '.join(f'{host} {found[0]}, {found[1]}' for host, found in after.items())}; "
        f"a container of the same image that nobody hardened: {before[0]}, {before[1]}.",
        f"Left out for all, because no container can change them: {', '.join(CONTAINER)} (settings and audit of the kernel, USB). "
        "On hosts of their own, role base sets the first and runs the second.",
        f"Left out for all, because they ask for what must not be: {', '.join(REDIS)} (Redis with one password, without CONFIG, for its own host). "
        "Here each client has an account with the rights that it needs.",
        f"systemd-analyze security, the worst of all hosts (0 is best, 10 worst): {shown}.",
        f"sslyze: Mozilla's intermediate profile, and {', '.join(word.strip('-') for word in SSLYZE[1:])}.",
    ]
    return write("hardening", __doc__ or "", [ours, root, index, found, nginx], notes)


if __name__ == "__main__":
    sys.exit(main())

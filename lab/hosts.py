#!/usr/bin/env python3
"""Start and stop groups of lab hosts: systemd containers on a network of their own, reached over SSH.

A project is one such group (the lab, or one molecule scenario); its containers, network and volumes carry the label
`obcms.project=PROJECT`, and nothing without that label is ever touched.

    hosts.py up PROJECT < hosts.json      hosts.json: [{"name", "address"?, "memory_mb"?, "publish"?, "volumes"?}]
    hosts.py down PROJECT                 remove them with all they hold
    hosts.py list PROJECT                 name, state and address of each

`up` prints the hosts as JSON with the address of each. It is safe to repeat: a running host is left as it is, a stopped
one is started, a missing one is made. Where no address is given, the project gets a free /24 of 198.18.0.0/15, the range
set aside for tests.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import image
from image import LabError, run

LABEL = "obcms.project"
TEST_RANGE = ipaddress.IPv4Network("198.18.0.0/15")
STATE = Path(__file__).resolve().parent.parent / ".lab"
KEY = STATE / "id_ed25519"
# Starting a systemd container needs the first two capabilities and none of the engine's system-call filters; the third lets root see
# what another user's process runs, as on any host.
HOST_OPTIONS = (
    "--cgroupns=host --cap-add=SYS_ADMIN --cap-add=NET_ADMIN --cap-add=SYS_PTRACE "
    "--security-opt=seccomp=unconfined --security-opt=apparmor=unconfined "
    "--tmpfs=/run --tmpfs=/run/lock --volume=/sys/fs/cgroup:/sys/fs/cgroup:rw --stop-timeout=60 --restart=no"
).split()

Host = dict[str, Any]


def containers(project: str) -> dict[str, str]:
    """Host name -> state (running, exited ...) of the project's containers."""
    listing = run("docker", "ps", "--all", "--filter", f"label={LABEL}={project}", "--format", "{{.Names}} {{.State}}")
    rows = (line.split() for line in listing.splitlines())
    return {name.removeprefix(f"{project}-"): state for name, state in rows}


def taken_subnets() -> list[ipaddress.IPv4Network]:
    """Subnets of all networks that the engine has."""
    names = run("docker", "network", "ls", "--quiet").split()
    found = json.loads(run("docker", "network", "inspect", *names)) if names else []
    subnets = [entry["Subnet"] for network in found for entry in network["IPAM"]["Config"] or []]
    return [ipaddress.IPv4Network(subnet) for subnet in subnets if ":" not in subnet]


def subnet_of(project: str) -> ipaddress.IPv4Network | None:
    """The project's subnet; None while it has no network."""
    done = subprocess.run(["docker", "network", "inspect", project], capture_output=True, text=True, check=False)
    return ipaddress.IPv4Network(json.loads(done.stdout)[0]["IPAM"]["Config"][0]["Subnet"]) if done.returncode == 0 else None


def ensure_network(project: str, hosts: list[Host]) -> ipaddress.IPv4Network:
    """The project's network, made where it is missing; LabError when no subnet is free."""
    present = subnet_of(project)
    if present:
        return present
    if hosts[0].get("address"):
        candidates = [ipaddress.IPv4Network(f"{hosts[0]['address']}/24", strict=False)]
    else:
        candidates = list(TEST_RANGE.subnets(new_prefix=24))[1:]
    for _ in range(5):  # two scenarios may reach for the same subnet at the same moment
        taken = taken_subnets()
        free = next((c for c in candidates if not any(c.overlaps(t) for t in taken)), None)
        if free is None:
            raise LabError(f"no free subnet for {project}: {candidates[0]} is taken by another network; `docker network ls` shows them")
        create = ["docker", "network", "create", "--label", f"{LABEL}={project}", "--subnet", str(free), project]
        made = subprocess.run(create, capture_output=True, text=True, check=False)
        if made.returncode == 0:
            return free
        time.sleep(1)
    raise LabError(f"the network of {project} cannot be made: {made.stderr.strip()}")


def ensure_key() -> None:
    """The key pair that opens every lab host."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    if not KEY.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(KEY))


def start(project: str, name: str, host: Host, tag: str) -> None:
    """Make one host; it boots in the background."""
    command = ["docker", "run", "--detach", "--name", f"{project}-{name}", "--hostname", name, "--label", f"{LABEL}={project}"]
    command += ["--network", project, "--ip", str(host["address"]), *HOST_OPTIONS]
    command += [f"--memory={host['memory_mb']}m"] if host.get("memory_mb") else []
    for port in host.get("publish", []):
        command += ["--publish", f"127.0.0.1:{port}"]
    for volume in host.get("volumes", []):
        command += ["--volume", f"{project}-{volume}"]
    run(*command, tag)


def admit(project: str, name: str, address: str) -> None:
    """Wait until the host takes our key over SSH; LabError after 60 s. Its host key goes into known_hosts."""
    container = f"{project}-{name}"
    authorise = ["docker", "exec", "-i", container, "install", "-m", "600", "-o", "ops", "/dev/stdin", "/home/ops/.ssh/authorized_keys"]
    public = KEY.with_suffix(".pub").read_text()
    for _ in range(120):
        if subprocess.run(authorise, input=public, text=True, capture_output=True, check=False).returncode == 0:
            scan = ["ssh-keyscan", "-T", "2", "-t", "ed25519", address]
            keys = subprocess.run(scan, capture_output=True, text=True, check=False).stdout
            if keys.strip():
                remember(project, address, keys)
                return
        time.sleep(0.5)
    raise LabError(f"{name} ({address}) did not answer on SSH within 60 s: `docker logs {container}`")


def known_hosts(project: str) -> Path:
    """File with the SSH host keys of the project's hosts."""
    return STATE / f"known_hosts.{project}"


def remember(project: str, address: str, keys: str) -> None:
    """Put the keys of an address into known_hosts in place of older ones."""
    path = known_hosts(project)
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if line.split()[0] != address]
    path.write_text("\n".join([*kept, keys.strip()]) + "\n")


def up(project: str, hosts: list[Host]) -> list[Host]:
    """Start what is missing; the hosts with their addresses."""
    tag = image.build()
    ensure_key()
    subnet = ensure_network(project, hosts)
    for number, host in enumerate(hosts):
        host.setdefault("address", str(subnet.network_address + 11 + number))
        if ipaddress.ip_address(host["address"]) not in subnet:
            raise LabError(f"{host['name']}: address {host['address']} is not in {subnet}, the network of {project}; run `down` first")
    states = containers(project)
    for host in hosts:
        if host["name"] not in states:
            start(project, host["name"], host, tag)
        elif states[host["name"]] != "running":
            run("docker", "start", f"{project}-{host['name']}")
    fresh = [h for h in hosts if states.get(h["name"]) != "running"]
    for host in fresh:
        admit(project, host["name"], host["address"])
    return hosts


def remove_network(project: str) -> None:
    """Remove the project's network. One that is empty and that the engine will not let go stays for the next hosts; LabError for any other.

    When many containers end at once, the engine may count users of a network that are gone, until it is restarted.
    """
    done = subprocess.run(["docker", "network", "rm", project], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if json.loads(run("docker", "network", "inspect", project))[0]["Containers"]:
            raise LabError(f"the network {project} cannot be removed: {done.stderr.strip()}")
        print(f"lab: the network {project} is empty and stays, since the engine says: {done.stderr.strip()}", file=sys.stderr)


def down(project: str) -> None:
    """Remove the project's containers, volumes and network."""
    names = [f"{project}-{name}" for name in containers(project)]
    if names:
        run("docker", "rm", "--force", "--volumes", *names)
    volumes = [v for v in run("docker", "volume", "ls", "--quiet").split() if v.startswith(f"{project}-")]
    if volumes:
        run("docker", "volume", "rm", *volumes)
    if subnet_of(project):
        remove_network(project)
    known_hosts(project).unlink(missing_ok=True)


def main(argv: list[str]) -> int:
    if len(argv) != 3 or argv[1] not in ("up", "down", "list"):
        print(__doc__, file=sys.stderr)
        return 2
    action, project = argv[1], argv[2]
    try:
        if action == "up":
            print(json.dumps(up(project, json.load(sys.stdin))))
        elif action == "down":
            down(project)
        else:
            print(json.dumps(containers(project)))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

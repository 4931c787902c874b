"""The lab's off-site storage: one more container, which takes files over SFTP and nothing else.

It is not in the inventory and has a network of its own; `bin/lab lose` destroys all hosts and leaves it alone, so that a rebuild from it alone
can be tried. Its keys lie in .lab/, where the lab's inventory reads them.
"""

from __future__ import annotations

import subprocess

import hosts
from image import LabError, run

NAME = "store"
ADDRESS = "198.18.0.81"
KEY = hosts.STATE / "offsite_key"
HOST_KEY = hosts.STATE / "offsite_host_key"
# Run as root inside; a second time it changes nothing.
SETUP = """
set -eu
id offsite >/dev/null 2>&1 || useradd --system --home-dir /backups --shell /usr/sbin/nologin offsite
install -d -m 0755 /srv/offsite /etc/ssh/offsite
install -d -m 0700 -o offsite -g offsite /srv/offsite/backups
cat > /etc/ssh/offsite/authorized_keys
cat > /etc/ssh/sshd_config.d/10-offsite.conf <<'END'
Match User offsite
  AuthorizedKeysFile /etc/ssh/offsite/authorized_keys
  ChrootDirectory /srv/offsite
  ForceCommand internal-sftp
  AllowTcpForwarding no
  X11Forwarding no
END
systemctl reload-or-restart ssh.service
"""


def project_of(project: str) -> str:
    """Name of the project that the storage is."""
    return f"{project}-offsite"


def up(project: str) -> str:
    """Start the storage and put it on the network of the hosts."""
    own = project_of(project)
    container = f"{own}-{NAME}"
    hosts.up(own, [{"name": NAME, "memory_mb": 256}])
    attached = run("docker", "inspect", "--format", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", container).split()
    if project not in attached:
        run("docker", "network", "connect", "--ip", ADDRESS, project, container)
    if not KEY.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "offsite", "-f", str(KEY))
    command = ["docker", "exec", "-i", container, "bash", "-c", SETUP]
    done = subprocess.run(command, input=KEY.with_suffix(".pub").read_text(), text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise LabError(f"the off-site storage cannot be set up: {done.stderr.strip()[-300:]}")
    # All of them: which one is shown is for the program that connects to choose.
    keys = run("docker", "exec", container, "sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").splitlines()
    HOST_KEY.write_text("".join(" ".join(line.split()[:2]) + "\n" for line in keys))
    return f"SFTP on {ADDRESS}"


def leave(project: str) -> None:
    """Take the storage off the network of the hosts, which is about to be removed."""
    container = f"{project_of(project)}-{NAME}"
    subprocess.run(["docker", "network", "disconnect", "--force", project, container], capture_output=True, check=False)


def down(project: str) -> None:
    """Remove the storage and all that it keeps."""
    hosts.down(project_of(project))
    HOST_KEY.unlink(missing_ok=True)

#!/usr/bin/python3
"""Runs on the host of this test: puts the rendered files of one host after the other in place and asks the real programs whether they take them.

accept.py FOLDER                     one JSON line for each host and check that applies: {"host", "check", "ok", "said"}
accept.py FOLDER --break CHECK...    the same with a mistake in the file that each of these checks reads: every one of them must be refused
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

SCRATCH = Path("/tmp/accept")
SERVER = "/usr/lib/postgresql/17/bin"
DATA = SCRATCH / "data"


@dataclass(frozen=True)
class Check:
    """A program that judges the file at `path`; what lies in `folders` matters, too. `old` made `new` is a mistake that it must find."""

    name: str
    path: str
    command: str
    old: str
    new: str
    folders: tuple[str, ...] = ()


POOLER = """
runuser -u postgres -- timeout 10 pgbouncer /etc/pgbouncer/pgbouncer.ini 2>/tmp/accept/pooler & pid=$!
for _ in $(seq 50); do
  kill -0 $pid 2>/dev/null || { cat /tmp/accept/pooler; exit 1; }
  runuser -u postgres -- psql -XAt -h /run/postgresql -p 6432 -U pgbouncer pgbouncer -c 'SHOW CONFIG' >/tmp/accept/shown 2>/dev/null && break
  sleep 0.1
done
pkill -P $pid; wait $pid
grep -E 'WARNING|ERROR' /tmp/accept/pooler && exit 1
grep -q '^pool_mode|transaction' /tmp/accept/shown
"""
CACHE = """
rm -rf /tmp/accept/redis; mkdir /tmp/accept/redis; cd /tmp/accept/redis
redis-server /etc/redis/settings.conf --bind 127.0.0.1 --dir $PWD --unixsocket $PWD/s --io-threads 1 --daemonize no >out 2>&1 & pid=$!
for _ in $(seq 50); do
  kill -0 $pid 2>/dev/null || { tail -n 5 out; exit 1; }
  redis-cli -s $PWD/s ping >pong 2>&1 && grep -qE 'PONG|NOAUTH' pong && break
  sleep 0.1
done
kill -9 $pid; grep -qE 'PONG|NOAUTH' pong
"""
# The server starts with these settings and rules, in as little memory as it takes, and has no complaint about any of them.
DATABASE = f"""
runuser -u postgres -- {SERVER}/pg_ctl -D {DATA} -w -s -l {DATA}/log -t 20 start \\
  -o "-c shared_buffers=16MB -c wal_buffers=1MB -c max_connections=50 -c listen_addresses='' -c huge_pages=off \\
  -c unix_socket_directories=/tmp/accept" || {{ tail -n 5 {DATA}/log; exit 1; }}
runuser -u postgres -- psql -XAtq -h /tmp/accept postgres -c "SELECT 'pg_hba.conf: ' || error FROM pg_hba_file_rules WHERE error IS NOT NULL
  UNION SELECT name || ': ' || error FROM pg_file_settings WHERE error IS NOT NULL
    AND name NOT IN ('huge_pages', 'max_connections', 'shared_buffers', 'wal_buffers')" >/tmp/accept/said 2>&1
runuser -u postgres -- {SERVER}/pg_ctl -D {DATA} -w -s -m immediate stop
cat /tmp/accept/said; test ! -s /tmp/accept/said
"""
ETC = "/etc/prometheus"
CHECKS = (
    Check("nginx", "/etc/nginx/nginx.conf", "nginx -t -q", "worker_connections", "worker_konnections", ("/etc/nginx/obcms",)),
    Check("haproxy", "/etc/haproxy/haproxy.cfg", "haproxy -c -q -f /etc/haproxy/haproxy.cfg", "timeout connect", "timeout konnect"),
    Check("pgbouncer", "/etc/pgbouncer/pgbouncer.ini", POOLER, "pool_mode = transaction", "pool_mode = transactions", ("/etc/pgbouncer",)),
    Check("keepalived", "/etc/keepalived/keepalived.conf", "keepalived --config-test", "virtual_router_id", "virtual_ruter_id"),
    Check("prometheus", f"{ETC}/prometheus.yml", f"promtool check config {ETC}/prometheus.yml", "job_name", "jobname", (f"{ETC}/rules",)),
    Check("rules", f"{ETC}/rules/hosts.yml", f"promtool check rules {ETC}/rules/*.yml", "expr: ", "expr: )", (f"{ETC}/rules",)),
    Check("prometheus web", f"{ETC}/prometheus-web.yml", f"promtool check web-config {ETC}/prometheus-web.yml", "cert_file", "cert_datei"),
    Check("blackbox", f"{ETC}/blackbox.yml", f"prometheus-blackbox-exporter --config.check --config.file={ETC}/blackbox.yml", "prober:", "proba:"),
    Check("alertmanager", f"{ETC}/alertmanager.yml", f"amtool check-config {ETC}/alertmanager.yml", "receiver:", "reciever:"),
    Check("postgres", "/etc/patroni/config.yml", DATABASE, "work_mem:", "work_memory:"),
    Check("pg_hba", "/etc/patroni/config.yml", DATABASE, "replicator scram-sha-256", "replicator scram-sha-255"),
    Check("redis", "/etc/redis/settings.conf", CACHE, "maxmemory-policy ", "maxmemory-politics ", ("/etc/redis",)),
    Check("sshd", "/etc/ssh/sshd_config.d/10-obcms.conf", "sshd -t", "PermitRootLogin", "PermitRutLogin"),
    Check("sudo", "/etc/sudoers.d/obcms-operators", "visudo --check --strict --file=/etc/sudoers.d/obcms-operators", "NOPASSWD", "NOPASWD"),
    Check("nftables", "/etc/obcms/firewall.nft", "nft --check --file /etc/obcms/firewall.nft", "policy drop", "policy dropp"),
)


def shell(command: str) -> tuple[bool, str]:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode == 0, " ".join((done.stderr + done.stdout).split())[-400:]


def prepare() -> None:
    """What the rendered files only name: certificates, accounts, places, an empty database."""
    SCRATCH.mkdir(mode=0o777, exist_ok=True)
    SCRATCH.chmod(0o777)
    pki = Path("/etc/obcms/pki")
    pki.mkdir(parents=True, exist_ok=True)
    shell(f"cd {pki} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=test -keyout ca.key -out ca.crt")
    (pki / "authorities").mkdir(exist_ok=True)
    shutil.copy(pki / "ca.crt", pki / "authorities" / "redis.crt")
    names = "public lb haproxy haproxy-patroni prometheus prometheus-patroni prometheus-redis_exporter alertmanager metrics redis postgres grafana"
    for name in names.split():
        shutil.copy(pki / "ca.crt", pki / f"{name}.crt")
        shutil.copy(pki / "ca.key", pki / f"{name}.key")
        (pki / f"{name}.key").chmod(0o644)
    shell("mkdir -p /etc/nginx/obcms && cat /etc/obcms/pki/public.key /etc/obcms/pki/public.crt > /etc/nginx/obcms/bought.pem")
    shell(f"chown postgres {pki}/postgres.key; chmod 600 {pki}/postgres.key")
    shell(
        "useradd --system keepalived_script; mkdir -p /run/haproxy /run/postgresql /srv/obcms/static /srv/obcms/media; chown postgres /run/postgresql"
    )
    if not DATA.exists():
        good, said = shell(f"runuser -u postgres -- {SERVER}/initdb -D {DATA} --auth=trust")
        assert good, said


def database_files(patroni: Path) -> None:
    """postgresql.conf and pg_hba.conf as Patroni would write them from its own file."""
    config = yaml.safe_load(patroni.read_text())
    own = {**config["bootstrap"]["dcs"]["postgresql"]["parameters"], **config["postgresql"]["parameters"]}
    own.pop("unix_socket_directories", None)
    lines = [f"{name} = '{value}'" for name, value in own.items()]
    (DATA / "postgresql.conf").write_text("\n".join(lines) + "\n")
    # The check itself comes in without a password.
    (DATA / "pg_hba.conf").write_text("\n".join(["local all postgres trust", *config["postgresql"]["pg_hba"]]) + "\n")


def put(host: Path) -> list[Path]:
    """Install the files of a host; where they lie now."""
    placed = []
    for source in (host / "files").rglob("*"):
        if source.is_file():
            target = Path("/") / source.relative_to(host / "files")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o440 if "sudoers" in str(target) else 0o644)
            placed.append(target)
    return placed


def content(check: Check) -> str:
    """Digest of all that the check reads."""
    digest = hashlib.sha256()
    files = {Path(check.path), *(path for folder in check.folders for path in Path(folder).rglob("*") if path.is_file())}
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def judged(check: Check, _digest: str) -> tuple[bool, str]:
    """The program's word; asked once for the same content."""
    if check.path.startswith("/etc/patroni"):
        database_files(Path(check.path))
    return shell(check.command)


def broken(check: Check) -> None:
    path = Path(check.path)
    text = path.read_text()
    path.chmod(0o644)
    path.write_text(re.sub(re.escape(check.old), lambda _: check.new, text, count=1) if check.old in text else text)
    path.chmod(0o440 if "sudoers" in check.path else 0o644)


def main(argv: list[str]) -> int:
    with_mistakes = "--break" in argv
    tried = {check.name for check in CHECKS} - set(argv[3:])
    prepare()
    for host in sorted(path for path in Path(argv[1]).iterdir() if path.is_dir()):
        for check in CHECKS:
            placed = put(host)
            if Path(check.path) in placed and not (with_mistakes and (check.name in tried or check.old not in Path(check.path).read_text())):
                if with_mistakes:
                    tried.add(check.name)
                    broken(check)
                good, said = judged(check, content(check))
                print(json.dumps({"host": host.name, "check": check.name, "ok": good, "said": said}), flush=True)
        for path in put(host):
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

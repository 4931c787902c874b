"""Every hop of the platform: how a client shows a certificate there, and which real client meets a server that shows one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

PKI = "/etc/obcms/pki"
CLIENTS = Path(__file__).with_name("clients.sh").read_text()
Names = tuple[str, ...]


@dataclass(frozen=True)
class Knock:
    """A server asked by a client with a certificate: `ask` succeeds when it was served. $CRT and $KEY are its files, owned by `user`.

    `authority` signs the right certificate; a server that has one of its own judges no names: it stands for the name.
    """

    hop: str
    host: str
    name: str
    dns: Names
    ask: str
    user: str = "root"
    authority: str = ""

    @property
    def by_name(self) -> bool:
        """Whether the server judges names."""
        return not self.authority


@dataclass(frozen=True)
class Meet:
    """The real client (a function of clients.sh), sent to a server on 127.0.0.1 that shows a certificate with `dns`. The rest as above."""

    hop: str
    host: str
    call: str
    dns: Names = ("right.obcms.internal",)
    greeting: str = ""
    authority: str = ""
    by_name: bool = True


# Who knows the account but has a bad certificate is asked for its certificate; who has one of ours for another name, for the account.
KNOWS = '[ "$KIND" != "another name" ]'
BY_ACCOUNT = (
    "PostgreSQL (but for backups) knows clients by account and password, whatever the certificate's name. "
    "There, who has a certificate of ours for another name has no password; who has another bad one knows it. "
    "restic's server asks for no certificate at all: nobody but the right client has the password. Redis' clients show none and have a password; "
    "everybody else there knows it as well."
)
NOT_ASKED = (
    "Not asked: browsers at 443 (they show no certificate; what they are shown is judged by `bin/prove hardening`), people at Grafana (no "
    "package in this lab) and at the poolers of platform_operators (nobody is on the list here): both take passwords.",
    "Not TLS: SSH and the off-site copy (keys of hosts are known), VRRP (signed), names and time. PgBouncer, nginx' status page and the prober "
    "are asked on their own host only.",
    "Prometheus talks to exporters and Alertmanager with the same settings as `promtool`, which is the client here; `verify.yml` asks the "
    "balancer with those of the prober.",
)
BY_AUTHORITY = (
    "Redis and Sentinel, Patroni's clients and those of the Redis exporter have authorities of their own, which stand for the name where the program "
    "judges none. There the certificate for another name is one of the main authority, and the hosts that hold one of theirs are counted."
)
# Groups whose hosts, and nobody else, hold a certificate of each authority. In the lab, Sentinels are on the Redis hosts.
HOLDERS = {"redis": ("redis",), "patroni": ("postgres", "app", "celery", "monitoring"), "redis_exporter": ("monitoring",)}


def https(address: str, port: int, path: str, words: str = "") -> str:
    """curl with the certificate; whether the server's own is verified is another question."""
    return f"curl -sfk --http1.1 --max-time 6 -o /dev/null --cert $CRT --key $KEY {words} https://{address}:{port}{path}"


def redis(address: str, port: int, user: str, password: str, shown: str = "-cert $CRT -key $KEY") -> str:
    """A PING as an account, in openssl's hands: hosts of the application have no client of Redis."""
    says = f"{{ printf 'AUTH {user} {password}\\r\\nPING\\r\\nQUIT\\r\\n'; sleep 2; }}"
    return f"{says} | timeout 6 openssl s_client -quiet -CAfile {PKI}/authorities/redis.crt {shown} -connect {address}:{port} | grep -q PONG"


def scraped(hop: str, address: str, port: int) -> Knock:
    """An exporter, asked as Prometheus does."""
    return Knock(hop, "mon1", "prometheus@mon1", ("prometheus.obcms.internal",), https(address, port, "/metrics"))


def login(address: str, user: str, password: str, words: str = "dbname=obcms", command: str = "select 1") -> str:
    """psql as an account with a password, which shows a certificate as well."""
    options = f"host={address} user={user} {words} sslmode=verify-full sslrootcert={PKI}/ca.crt sslcert=$CRT sslkey=$KEY connect_timeout=5"
    return f"if {KNOWS}; then export PGPASSWORD={password}; fi; psql -wAtc '{command}' \"{options}\""


def knocks(secrets: dict[str, Any], at: dict[str, str], leader: str, replica: str) -> list[Knock]:
    """Hops whose server judges the client; `at` has the address of each host."""
    etcd = f"ETCDCTL_CACERT={PKI}/ca.crt ETCDCTL_CERT=$CRT ETCDCTL_KEY=$KEY etcdctl --command-timeout=5s --endpoints=https://{at['redis1']}:2379"
    password = f"-u patroni:{secrets['postgres_restapi_password']}"
    patch = f"""-X PATCH -H 'Content-Type: application/json' -d '{{"loop_wait": 3}}' {password}"""
    # The application's hosts show no certificate to Redis.
    none = '$([ "$KIND" = right ] || echo -cert $CRT -key $KEY)'
    balanced = "-H 'Host: obcms.lab.internal' -H 'X-Forwarded-Proto: https'"
    by_certificate = f"user=obcms_backup dbname=obcms sslmode=verify-full sslrootcert={PKI}/ca.crt sslcert=$CRT sslkey=$KEY connect_timeout=5"
    archive = "pgbackrest --stanza=obcms --repo=1 --repo1-host-cert-file=$CRT --repo1-host-key-file=$KEY info"
    stored = """import json; print(json.load(open("/etc/obcms/file-backup.json"))["repositories"]["web1"]["access"])"""
    access = f"""access=$([ "$KIND" = right ] && python3 -c '{stored}')"""
    own = " ".join(f"--pg{number}-host-cert-file=$CRT --pg{number}-host-key-file=$KEY" for number in (1, 2, 3))
    return [
        Knock("etcd, clients", "worker1", "beat", ("worker1",), f"{etcd} get obcms/beat/ --prefix --keys-only"),
        Knock(
            "etcd, keys of another client",
            "worker1",
            "beat",
            ("worker1",),
            f'k=obcms/beat/; [ "$KIND" = right ] || k=/service/; {etcd} get $k --prefix',
        ),
        Knock("etcd, members", "redis2", "etcd", ("etcd.obcms.internal",), https(at["redis1"], 2380, "/members")),
        Knock("Patroni, changes", "db2", "postgres-patroni@db2", ("db2",), https(at["db1"], 8008, "/config", patch), authority="patroni"),
        Knock("Patroni, questions", "web1", "haproxy-patroni@web1", ("web1",), https(at["db1"], 8008, "/cluster"), authority="patroni"),
        Knock("gunicorn", "lb1", "lb@lb1", ("lb.obcms.internal",), https(at["web1"], 8000, "/health/", balanced)),
        scraped("node exporter", at["web1"], 9100),
        scraped("nginx exporter", at["lb1"], 9113),
        scraped("HAProxy's metrics", at["web1"], 8405),
        scraped("PgBouncer exporter", at["web1"], 9127),
        scraped("PostgreSQL exporter", at["db1"], 9187),
        Knock(
            "Redis exporter", "mon1", "prometheus-redis_exporter@mon1", ("mon1",), https(at["redis1"], 9121, "/metrics"), authority="redis_exporter"
        ),
        Knock("Prometheus", "mon1", "grafana@mon1", ("grafana.obcms.internal",), https(at["mon1"], 9090, "/api/v1/status/buildinfo")),
        Knock("Alertmanager", "mon1", "prometheus@mon1", ("prometheus.obcms.internal",), https(at["mon1"], 9093, "/api/v2/status")),
        Knock(
            "Redis, clients",
            "web1",
            "haproxy@web1",
            ("web1",),
            redis(at["redis1"], 6379, "check", secrets["redis_check_password"], none),
            authority="redis",
        ),
        Knock(
            "Redis, replicas",
            "redis2",
            "redis@redis2",
            ("redis2",),
            redis(at["redis1"], 6379, "replica", secrets["redis_replica_password"]),
            authority="redis",
        ),
        Knock(
            "Sentinel, clients",
            "redis2",
            "sentinel@redis2",
            ("redis2",),
            redis(at["redis1"], 26379, "admin", secrets["redis_admin_password"]),
            authority="redis",
        ),
        Knock("PostgreSQL, application", "web1", "haproxy@web1", ("web1",), login(at[leader], "obcms_owner", secrets["postgres_owner_password"])),
        Knock(
            "PostgreSQL, replicas",
            replica,
            f"postgres@{replica}",
            (replica,),
            login(at[leader], "replicator", secrets["postgres_replication_password"], "replication=true", "IDENTIFY_SYSTEM"),
        ),
        Knock(
            "PostgreSQL, by certificate",
            "backup1",
            "pgbackrest@backup1",
            ("backup1",),
            f"psql -wAtc 'select 1' \"host={at['db1']} {by_certificate}\"",
        ),
        Knock("pgBackRest, repository", "db1", "pgbackrest@db1", ("db1",), f"runuser -u postgres -- {archive} | grep -q 'status: ok'", "postgres"),
        Knock(
            "pgBackRest, database hosts",
            "backup1",
            "pgbackrest@backup1",
            ("backup1",),
            f"runuser -u pgbackrest -- pgbackrest --stanza=obcms --no-archive-check {own} check",
            "pgbackrest",
        ),
        Knock("restic's server", "web1", "web1", ("web1",), f"{access}; {https(at['backup1'], 8485, '/web1/config', '-u web1:$access')}"),
    ]


def meets(pgbackrest: str, replica: str) -> list[Meet]:
    """Hops whose client judges the server; pgBackRest waits to be greeted by its own version."""
    greeting = '{"name":"pgBackRest","service":"remote","version":"VERSION"}\\n\\n'.replace("VERSION", pgbackrest)
    return [
        Meet("PgBouncer meets PostgreSQL", "web1", "pooler", greeting="postgres"),
        Meet("a replica meets the leader", replica, "follower", greeting="postgres"),
        Meet("migrations meet PostgreSQL", "web1", "migration", greeting="postgres"),
        Meet("the exporter meets PostgreSQL", "db1", "figures", greeting="postgres"),
        Meet("the restore drill meets PostgreSQL", "backup1", "drill", greeting="postgres"),
        Meet("HAProxy meets Patroni", "web1", "proxy postgres_leader", ("db1",)),
        Meet("Patroni meets another member", "db2", "neighbour"),
        Meet("HAProxy meets Redis", "web1", "proxy redis_master", ("redis.obcms.internal",), authority="redis"),
        Meet("the exporter meets Redis", "redis1", "counters", authority="redis"),
        Meet("Redis meets its master", "redis2", "replica", ("redis.obcms.internal",), authority="redis", by_name=False),
        Meet("Sentinel meets Redis", "redis2", "watcher", ("redis.obcms.internal",), authority="redis", by_name=False),
        Meet("Sentinel meets another", "redis2", "watcher sentinel", ("redis.obcms.internal",), authority="redis", by_name=False),
        Meet("Patroni meets etcd", "db2", "patroni_of"),
        Meet("the beat's lock meets etcd", "worker1", "lock"),
        Meet("an etcd member meets another", "redis2", "member", ("etcd.obcms.internal",)),
        Meet("nginx meets gunicorn", "lb1", "balancer", ("app.obcms.internal",)),
        Meet("Prometheus meets whom it scrapes", "mon1", "scraper"),
        Meet("amtool meets Alertmanager", "mon1", "silencer"),
        Meet("the prober meets the balancer", "mon1", "prober public", ("obcms.lab.internal",)),
        Meet("the prober meets gunicorn", "mon1", "prober ready", ("app.obcms.internal",)),
        Meet("pgBackRest meets the repository", "db1", "archiver", greeting=greeting),
        Meet("pgBackRest meets a database host", "backup1", "keeper", greeting=greeting),
        Meet("restic meets its server", "web1", "files"),
    ]

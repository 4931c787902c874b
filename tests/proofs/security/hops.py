"""Every hop of the platform: how a client shows a certificate there, and which real client meets a server that shows one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PKI = "/etc/obcms/pki"
CLIENTS = Path(__file__).with_name("clients.sh").read_text()
Names = tuple[str, ...]


@dataclass(frozen=True)
class Knock:
    """A server asked by a client with a certificate: `ask` succeeds when it was served. $CRT and $KEY are its files, owned by `user`."""

    hop: str
    host: str
    name: str
    dns: Names
    ask: str
    user: str = "root"


@dataclass(frozen=True)
class Meet:
    """The real client (a function of clients.sh), sent to a server on 127.0.0.1 that shows a certificate with `dns`."""

    hop: str
    host: str
    call: str
    dns: Names = ("right.obcms.internal",)
    greeting: str = ""


def https(address: str, port: int, path: str, words: str = "") -> str:
    """curl with the certificate; whether the server's own is verified is another question."""
    return f"curl -sfk --http1.1 --max-time 6 -o /dev/null --cert $CRT --key $KEY {words} https://{address}:{port}{path}"


def redis(address: str, port: int, user: str, password: str) -> str:
    """A PING, with the right certificate as an account."""
    return (
        f'[ "$KIND" != right ] || export REDISCLI_AUTH={password}; timeout 6 redis-cli --tls --cacert {PKI}/ca.crt --cert $CRT --key $KEY '
        f"--sni redis.obcms.internal -h {address} -p {port} ${{REDISCLI_AUTH:+--user {user}}} --no-auth-warning ping | grep -x PONG"
    )


def scraped(hop: str, address: str, port: int) -> Knock:
    """An exporter, asked as Prometheus does."""
    return Knock(hop, "mon1", "prometheus@mon1", ("prometheus.obcms.internal",), https(address, port, "/metrics"))


def knocks(secrets: dict[str, str], at: dict[str, str]) -> list[Knock]:
    """Hops whose server judges the client; `at` has the address of each host."""
    etcd = f"ETCDCTL_CACERT={PKI}/ca.crt ETCDCTL_CERT=$CRT ETCDCTL_KEY=$KEY etcdctl --command-timeout=5s --endpoints=https://{at['redis1']}:2379"
    password = f"-u patroni:{secrets['postgres_restapi_password']}"
    patch = f"""-X PATCH -H 'Content-Type: application/json' -d '{{"loop_wait": 3}}' $([ "$KIND" != right ] || echo {password})"""
    balanced = "-H 'Host: obcms.lab.internal' -H 'X-Forwarded-Proto: https'"
    login = f"user=obcms_backup dbname=obcms sslmode=verify-full sslrootcert={PKI}/ca.crt sslcert=$CRT sslkey=$KEY connect_timeout=5"
    archive = f"pgbackrest --stanza=obcms --repo1-host={at['backup1']} --repo1-host-cert-file=$CRT --repo1-host-key-file=$KEY info"
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
        Knock("Patroni, changes", "db2", "postgres@db2", ("postgres.obcms.internal",), https(at["db1"], 8008, "/config", patch)),
        Knock("gunicorn", "lb1", "lb@lb1", ("lb.obcms.internal",), https(at["web1"], 8000, "/health/", balanced)),
        scraped("node exporter", at["web1"], 9100),
        scraped("nginx exporter", at["lb1"], 9113),
        scraped("HAProxy's metrics", at["web1"], 8405),
        scraped("PgBouncer exporter", at["web1"], 9127),
        scraped("PostgreSQL exporter", at["db1"], 9187),
        scraped("Redis exporter", at["redis1"], 9121),
        Knock("Prometheus", "mon1", "grafana@mon1", ("grafana.obcms.internal",), https(at["mon1"], 9090, "/api/v1/status/buildinfo")),
        Knock("Alertmanager", "mon1", "prometheus@mon1", ("prometheus.obcms.internal",), https(at["mon1"], 9093, "/api/v2/status")),
        Knock("Redis, clients", "web1", "haproxy@web1", ("web1",), redis(at["redis1"], 6379, "check", secrets["redis_check_password"])),
        Knock("Sentinel, clients", "redis2", "sentinel@redis2", ("redis2",), redis(at["redis1"], 26379, "admin", secrets["redis_admin_password"])),
        Knock("PostgreSQL, by certificate", "backup1", "pgbackrest@backup1", ("backup1",), f"psql -Atc 'select 1' \"host={at['db1']} {login}\""),
        Knock("pgBackRest, repository", "db1", "pgbackrest@db1", ("db1",), f"runuser -u postgres -- {archive}", "postgres"),
    ]


def meets(pgbackrest: str, replica: str) -> list[Meet]:
    """Hops whose client judges the server; pgBackRest waits to be greeted by its own version."""
    greeting = '{"name":"pgBackRest","service":"remote","version":"VERSION"}\\n\\n'.replace("VERSION", pgbackrest)
    return [
        Meet("PgBouncer meets PostgreSQL", "web1", "pooler", greeting="postgres"),
        Meet("a replica meets the leader", replica, "follower", greeting="postgres"),
        Meet("migrations meet PostgreSQL", "web1", "migration", greeting="postgres"),
        Meet("HAProxy meets Patroni", "web1", "proxy postgres_leader", ("db1",)),
        Meet("HAProxy meets Redis", "web1", "proxy redis_master", ("redis.obcms.internal",)),
        Meet("Redis meets its master", "redis2", "replica", ("redis.obcms.internal",)),
        Meet("Patroni meets etcd", "db2", "patroni_of"),
        Meet("the beat's lock meets etcd", "worker1", "lock"),
        Meet("an etcd member meets another", "redis2", "member", ("etcd.obcms.internal",)),
        Meet("nginx meets gunicorn", "lb1", "balancer", ("app.obcms.internal",)),
        Meet("Prometheus meets whom it scrapes", "mon1", "scraper"),
        Meet("amtool meets Alertmanager", "mon1", "silencer"),
        Meet("pgBackRest meets the repository", "db1", "archiver", greeting=greeting),
        Meet("restic meets its server", "web1", "files"),
    ]

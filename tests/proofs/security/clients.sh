# Real clients with the options they really have, sent to 127.0.0.1:$PORT. $DIR is theirs.

pooler() {
  sed -E "s/port=500[01]/port=$PORT/; /%include/d" /etc/pgbouncer/pgbouncer.ini >"$DIR/p.ini"
  cp /etc/pgbouncer/userlist.txt "$DIR/"
  printf 'unix_socket_dir=%s\nlisten_port=6499\nlisten_addr=\n' "$DIR" >>"$DIR/p.ini"
  sed -i "s#^auth_file.*#auth_file=$DIR/userlist.txt#" "$DIR/p.ini"
  chown -R postgres "$DIR"
  timeout 8 runuser -u postgres -- pgbouncer -q "$DIR/p.ini" &
  sleep 1
  . /etc/obcms/obcms.env
  timeout 5 psql "$(echo "$DATABASE_URL" | sed "s#@[^/]*/#@/#")?host=$DIR&port=6499" -c 'select 1'
}

follower() {
  options=$(sudo -u postgres psql -Atc 'show primary_conninfo')
  [ -n "$options" ] || return 1
  timeout 6 psql "$options host=127.0.0.1 port=$PORT dbname=postgres password=x passfile=/dev/null gssencmode=disable" -c 'select 1'
}

migration() {
  . /etc/obcms/migrate.env
  timeout 6 psql "$(echo "$DATABASE_URL" | sed "s/:5000/:$PORT/")" -c 'select 1'
}

figures() {
  set -a
  . /etc/prometheus/postgres_exporter.env
  DATA_SOURCE_URI=127.0.0.1:$PORT/${DATA_SOURCE_URI#*/}
  timeout 6 prometheus-postgres-exporter --web.listen-address="127.0.0.1:$((PORT + 500))" &
  sleep 1
  curl -s --max-time 4 "http://127.0.0.1:$((PORT + 500))/metrics"
}

drill() {
  options=$(python3 -c 'import json; print(json.load(open("/etc/obcms/backup.json"))["conninfo"])')
  cp /etc/obcms/pki/pgbackrest.key "$DIR/k"
  timeout 6 psql "$options host=127.0.0.1 port=$PORT sslkey=$DIR/k gssencmode=disable" -c 'select 1'
}

# HAProxy with one server of the backend named.
proxy() {
  awk '/^defaults/{exit} /stats socket|server-state|log stdout/{next} 1' /etc/haproxy/haproxy.cfg >"$DIR/h.cfg"
  printf 'defaults\n mode tcp\n timeout connect 2s\n timeout client 5s\n timeout server 5s\n timeout check 2s\n' >>"$DIR/h.cfg"
  sed -n "/^backend $1\$/,/^\$/p" /etc/haproxy/haproxy.cfg |
    sed -E "s#(server [a-z0-9]+) [0-9.]+:[0-9]+#\1 127.0.0.1:$PORT#; s#check port [0-9]+#check port $PORT#; /load-server-state/d" |
    awk '/^ +server /{if (n++) next} 1' >>"$DIR/h.cfg"
  printf '\nfrontend nobody\n bind 127.0.0.1:%s\n' "$((PORT + 500))" >>"$DIR/h.cfg"
  timeout 6 haproxy -db -f "$DIR/h.cfg"
}

replica() {
  grep -Ev '^(dir|port|tls-port|bind|replica-announce|aclfile|unixsocket)' /etc/redis/settings.conf >"$DIR/r.conf"
  timeout 6 redis-server "$DIR/r.conf" --port 0 --tls-port "$((PORT + 500))" --bind 127.0.0.1 --dir "$DIR" --appendonly no --save '' --replicaof 127.0.0.1 "$PORT"
}

# Sentinel that watches a Redis there, or knows another Sentinel there.
watcher() {
  grep -Ev '^(bind|dir|aclfile|tls-port|port|tls-(cert|key)-file)|bmms-master|announce' /etc/redis/sentinel-settings.conf >"$DIR/s.conf"
  cp /etc/obcms/pki/sentinel.crt "$DIR/s.crt" && cp /etc/obcms/pki/sentinel.key "$DIR/s.key"
  printf 'port 0\ntls-port %s\nbind 127.0.0.1\ndir %s\ntls-cert-file %s/s.crt\ntls-key-file %s/s.key\n' "$((PORT + 500))" "$DIR" "$DIR" "$DIR" >>"$DIR/s.conf"
  if [ "${1:-}" = sentinel ]; then
    printf 'sentinel monitor m 127.0.0.1 %s 2\nsentinel known-sentinel m 127.0.0.1 %s %040d\n' "$((PORT + 501))" "$PORT" 1 >>"$DIR/s.conf"
  else
    printf 'sentinel monitor m 127.0.0.1 %s 2\n' "$PORT" >>"$DIR/s.conf"
  fi
  timeout 6 redis-sentinel "$DIR/s.conf"
}

counters() {
  set -a
  . /etc/default/prometheus-redis-exporter
  # shellcheck disable=SC2086  # words of the unit
  set -- $ARGS
  ask() {
    for word; do
      case $word in -web.* | -tls-server-* | -redis.addr=*) ;; *) printf '%s ' "$word" ;; esac
    done
  }
  # shellcheck disable=SC2046
  timeout 6 prometheus-redis-exporter $(ask "$@") -redis.addr="rediss://127.0.0.1:$PORT" -web.listen-address="127.0.0.1:$((PORT + 500))" &
  sleep 1
  curl -s --max-time 4 "http://127.0.0.1:$((PORT + 500))/metrics"
}

neighbour() {
  cat >"$DIR/n.py" <<'END'
import os
from patroni.config import Config
from patroni.request import PatroniRequest
print(PatroniRequest(Config("/etc/patroni/config.yml")).request("GET", f"https://127.0.0.1:{os.environ['PORT']}/patroni").status)
END
  timeout 6 python3 "$DIR/n.py"
}

patroni_of() {
  sed -E "/^etcd3:/,/^\$/ s#hosts: .*#hosts: [\"127.0.0.1:$PORT\"]#" /etc/patroni/config.yml >"$DIR/p.yml"
  chown -R postgres "$DIR"
  timeout 6 runuser -u postgres -- patronictl -c "$DIR/p.yml" list
}

lock() {
  set -a
  . /etc/obcms/etcd-client.env
  # etcdctl refuses to be told twice.
  ETCDCTL_ENDPOINTS=https://127.0.0.1:$PORT
  timeout 6 etcdctl --dial-timeout=3s --command-timeout=4s get x
}

member() {
  own=$((PORT + 500))
  set -a
  . /etc/default/etcd
  ETCD_NAME=a ETCD_DATA_DIR=$DIR/e ETCD_INITIAL_CLUSTER_TOKEN=x ETCD_INITIAL_CLUSTER_STATE=new
  ETCD_INITIAL_CLUSTER=a=https://127.0.0.1:$own,b=https://127.0.0.1:$PORT
  ETCD_LISTEN_PEER_URLS=https://127.0.0.1:$own ETCD_INITIAL_ADVERTISE_PEER_URLS=https://127.0.0.1:$own
  ETCD_LISTEN_CLIENT_URLS=https://127.0.0.1:$((PORT + 1000)) ETCD_ADVERTISE_CLIENT_URLS=https://127.0.0.1:$((PORT + 1000))
  timeout 6 etcd
}

balancer() {
  {
    echo "pid $DIR/n.pid; error_log $DIR/n.log; user root; events {} http { access_log off;"
    grep -E '^ +proxy_ssl_' /etc/nginx/nginx.conf
    echo "server { listen 127.0.0.1:$((PORT + 500)); location / { proxy_pass https://127.0.0.1:$PORT; } } }"
  } >"$DIR/n.conf"
  nginx -c "$DIR/n.conf" &
  sleep 1
  curl -s --max-time 4 "http://127.0.0.1:$((PORT + 500))/"
  kill "$(cat "$DIR/n.pid")"
}

scraper() { timeout 6 promtool query instant --http.config.file=/etc/prometheus/client.yml "https://127.0.0.1:$PORT" up; }

# The one that runs already.
prober() { curl -s --max-time 9 "http://127.0.0.1:9115/probe?module=$1&target=https://127.0.0.1:$PORT/ready/"; }

silencer() { timeout 6 amtool --http.config.file=/etc/prometheus/amtool-client.yml --alertmanager.url="https://127.0.0.1:$PORT" alert; }

archiver() { timeout 8 runuser -u postgres -- pgbackrest --stanza=obcms --repo1-host=127.0.0.1 --repo1-host-port="$PORT" --io-timeout=4 info; }

keeper() {
  for number in 1 2 3; do set -- "$@" --pg$number-host=127.0.0.1 --pg$number-host-port="$PORT"; done
  timeout 8 runuser -u pgbackrest -- pgbackrest --stanza=obcms --io-timeout=4 --no-archive-check "$@" check
}

files() { RESTIC_PASSWORD=x timeout 6 restic --no-cache --cacert /etc/obcms/pki/ca.crt -r "rest:https://127.0.0.1:$PORT/x" cat config; }

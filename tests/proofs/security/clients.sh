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

patroni_of() {
  sed -E "/^etcd3:/,/^\$/ s#hosts: .*#hosts: [\"127.0.0.1:$PORT\"]#" /etc/patroni/config.yml >"$DIR/p.yml"
  chown -R postgres "$DIR"
  timeout 6 runuser -u postgres -- patronictl -c "$DIR/p.yml" list
}

lock() {
  set -a
  . /etc/obcms/etcd-client.env
  timeout 6 etcdctl --dial-timeout=3s --command-timeout=4s --endpoints="https://127.0.0.1:$PORT" get x
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

silencer() { timeout 6 amtool --http.config.file=/etc/prometheus/amtool-client.yml --alertmanager.url="https://127.0.0.1:$PORT" alert; }

archiver() { timeout 8 runuser -u postgres -- pgbackrest --stanza=obcms --repo1-host=127.0.0.1 --repo1-host-port="$PORT" --io-timeout=4 info; }

files() { RESTIC_PASSWORD=x timeout 6 restic --no-cache --cacert /etc/obcms/pki/ca.crt -r "rest:https://127.0.0.1:$PORT/x" cat config; }

#!/bin/bash
# Insert one row after the other through the pooler, and print the longest wait between two acknowledged rows and the rows that are gone.
# Usage: writer.sh SECONDS FIRST, the password of obcms_app in PGPASSWORD. One psql per row, so that each has a connection of its own.
url="host=/run/postgresql port=6432 user=obcms_app dbname=obcms"
end=$((SECONDS + $1)); n=$2; last=$(date +%s%N); stall=0; errors=0; acked=()
while [ $SECONDS -lt $end ]; do
    n=$((n + 1))
    if psql -qX "$url" -c "INSERT INTO writes VALUES ($n)" 2>>/tmp/writer.errors; then
        now=$(date +%s%N); wait=$(((now - last) / 1000000)); last=$now; acked+=("$n")
        [ $wait -gt $stall ] && stall=$wait
    else
        errors=$((errors + 1))
    fi
    sleep 0.1
done
# A wait that has not ended by then counts as well.
wait=$((($(date +%s%N) - last) / 1000000))
[ $wait -gt $stall ] && stall=$wait
kept=" $(psql -qXAt "$url" -c "SELECT n FROM writes" | tr '\n' ' ') "
lost=0
for n in "${acked[@]}"; do [[ $kept == *" $n "* ]] || lost=$((lost + 1)); done
echo "{\"acknowledged\": ${#acked[@]}, \"lost\": $lost, \"stall_ms\": $stall, \"errors\": $errors}"

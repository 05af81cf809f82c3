#!/bin/bash
# kcat.sh BOOTSTRAP: kcat, and librdkafka behind it, create, produce, consume, share a group and describe.
set -euo pipefail
B=$1; . "$(dirname "$0")/lib.sh"
need kcat "apt-get install kcat"
T=$PREFIX-kcat
LIMIT=(timeout 60)
CODECS="none gzip snappy lz4 zstd"

# numbered CODEC COUNT: keyed lines, key and value by number
numbered() { local n; for n in $(seq 1 "$2"); do echo "key-$n:$1-value-$n"; done; }

creates_topic() {
  echo first | "${LIMIT[@]}" kcat -P -b "$B" -t "$T" -X topic.request.timeout.ms=30000
  "${LIMIT[@]}" kcat -L -b "$B" -t "$T" | grep -F "topic \"$T\" with"
}
describes() {
  "${LIMIT[@]}" kcat -L -b "$B" > "$WORK/list"
  grep -E '^ [0-9]+ brokers:' "$WORK/list"
  grep -F "topic \"$T\" with" "$WORK/list"
  "${LIMIT[@]}" kcat -L -J -b "$B" -t "$T" | grep -F "\"topic\":\"$T\""
}
round_trip() {
  local codec=$1 topic="$T-$1"
  numbered "$codec" 500 > "$WORK/in"
  "${LIMIT[@]}" kcat -P -b "$B" -t "$topic" -p 0 -K: -z "$codec" -H trace=abc -H trace=def -X linger.ms=20 -l "$WORK/in"
  "${LIMIT[@]}" kcat -C -e -q -b "$B" -t "$topic" -p 0 -o beginning -f '%k:%s\n' > "$WORK/out"
  same "$WORK/in" "$WORK/out"
  "${LIMIT[@]}" kcat -C -e -q -b "$B" -t "$topic" -p 0 -o beginning -c 1 -f '%h\n' | grep -Fx 'trace=abc,trace=def'
}
nulls_are_kept() {
  local topic="$T-nulls"
  printf 'gone:\n' | "${LIMIT[@]}" kcat -P -b "$B" -t "$topic" -p 0 -K: -Z
  "${LIMIT[@]}" kcat -C -e -q -b "$B" -t "$topic" -p 0 -o beginning -J | grep -F '"payload":null'
}
idempotent() {
  local topic="$T-idempotent"
  numbered once 2000 > "$WORK/in"
  "${LIMIT[@]}" kcat -P -b "$B" -t "$topic" -p 0 -K: -X enable.idempotence=true -X acks=all -l "$WORK/in"
  "${LIMIT[@]}" kcat -C -e -q -b "$B" -t "$topic" -p 0 -o beginning -f '%k:%s\n' > "$WORK/out"
  same "$WORK/in" "$WORK/out"
}
offsets_by_time() {
  local topic="$T-idempotent"
  "${LIMIT[@]}" kcat -Q -b "$B" -t "$topic:0:-1" | grep -E 'offset 2000$'
  "${LIMIT[@]}" kcat -Q -b "$B" -t "$topic:0:-2" | grep -E 'offset 0$'
  "${LIMIT[@]}" kcat -Q -b "$B" -t "$topic:0:1000" | grep -E 'offset 0$'
}
starts_in_the_middle() {
  local topic="$T-idempotent"
  "${LIMIT[@]}" kcat -C -e -q -b "$B" -t "$topic" -p 0 -o 1234 -c 1 -f '%o %k\n' | grep -Fx '1234 key-1235'
  "${LIMIT[@]}" kcat -C -e -q -b "$B" -t "$topic" -p 0 -o -5 -f '%o\n' | wc -l | grep -x 5
}
group_reads_and_commits() {
  local topic="$T-gzip" group="$PREFIX-group"
  "${LIMIT[@]}" kcat -b "$B" -G "$group" -c 500 -q -X auto.offset.reset=earliest -f '%k:%s\n' "$topic" > "$WORK/out"
  numbered gzip 500 > "$WORK/in"
  same "$WORK/in" "$WORK/out"
  # The second member of the same group finds the commit, and therefore only what came later.
  echo "late:record" | "${LIMIT[@]}" kcat -P -b "$B" -t "$topic" -p 0 -K:
  "${LIMIT[@]}" kcat -b "$B" -G "$group" -c 1 -q -X auto.offset.reset=earliest -f '%o %k:%s\n' "$topic" | grep -Fx '500 late:record'
}
two_members_share_a_group() {
  local topics=("$T-none" "$T-snappy" "$T-lz4" "$T-zstd") group="$PREFIX-shared" member
  # Both are there before either is told to end: SIGTERM lets kcat commit and leave.
  for member in a b; do
    timeout 40 kcat -b "$B" -G "$group" -u -X auto.offset.reset=earliest -X session.timeout.ms=10000 -X partition.assignment.strategy=roundrobin \
      -f '%t %k:%s\n' "${topics[@]}" > "$WORK/member-$member" 2> "$WORK/talk-$member" &
    eval "pid_$member=$!"
  done
  local tries=0
  until grep -q "$T" "$WORK/talk-a" && grep -q "$T" "$WORK/talk-b" && [ "$(cat "$WORK"/member-[ab] | sort -u | wc -l)" -ge 2000 ]; do
    tries=$((tries+1)); [ $tries -lt 150 ] || { cat "$WORK"/talk-[ab]; wc -l "$WORK"/member-[ab]; kill "$pid_a" "$pid_b"; return 1; }
    sleep 0.2
  done
  kill -TERM "$pid_a" "$pid_b"; wait "$pid_a" "$pid_b" || true
  for codec in none snappy lz4 zstd; do numbered $codec 500 | sed "s/^/$T-$codec /"; done | sort > "$WORK/in"
  sort -u "$WORK"/member-[ab] > "$WORK/out"
  same "$WORK/in" "$WORK/out"
}

check "kcat creates a topic by producing to it" creates_topic
check "kcat describes brokers and topics" describes
for codec in $CODECS; do check "kcat reads back what it wrote with $codec, headers included" round_trip "$codec"; done
check "kcat keeps a null value apart from an empty one" nulls_are_kept
check "kcat produces with idempotence" idempotent
check "kcat finds offsets by time" offsets_by_time
check "kcat starts in the middle of a batch" starts_in_the_middle
check "kcat reads in a group and goes on from its commit" group_reads_and_commits
check "two kcat members share the partitions of a group" two_members_share_a_group
finish

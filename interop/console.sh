#!/bin/bash
# console.sh BOOTSTRAP: the command line tools of Apache Kafka's release create, produce, consume, describe and delete.
# KAFKA_JARS is the folder of the release's jars.
set -euo pipefail
B=$1; . "$(dirname "$0")/lib.sh"
need "${JAVA_HOME:+$JAVA_HOME/bin/}java" "install a Java runtime 17 or newer"
: "${KAFKA_JARS:?the folder of the release\'s jars; cargo xtask interop sets it}"
T=$PREFIX-console
TOOLS=org.apache.kafka.tools

# kafka MAIN_CLASS ARGUMENTS…: a small heap and the first compiler only, because each call lives for a second.
kafka() {
  local main=$1; shift
  timeout 90 "${JAVA_HOME:+$JAVA_HOME/bin/}java" -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$KAFKA_JARS/*" "$main" --bootstrap-server "$B" "$@" 2> "$WORK/stderr" ||
    { local status=$?; grep -v SLF4J "$WORK/stderr" | head -n 8; return $status; }
}
topics() { kafka $TOOLS.TopicCommand "$@"; }
groups() { kafka $TOOLS.consumer.group.ConsumerGroupCommand "$@"; }
produce() { kafka $TOOLS.ConsoleProducer --reader-property parse.key=true --reader-property key.separator=: "$@"; }
consume() { kafka $TOOLS.consumer.ConsoleConsumer --formatter-property print.key=true --formatter-property key.separator=: --timeout-ms 30000 "$@"; }
numbered() { local n; for n in $(seq 1 "$2"); do echo "key-$n:$1-value-$n"; done; }

creates_topic() {
  topics --create --topic "$T" --partitions 3 --replication-factor 1 --config retention.ms=3600000
  ! topics --create --topic "$T" --partitions 3 --replication-factor 1 > "$WORK/again" || return 1
  grep -F 'already exists' "$WORK/again"
  topics --list | grep -Fx "$T"
}
describes_topic() {
  topics --describe --topic "$T" > "$WORK/out"
  grep -E "Topic: $T.*PartitionCount: 3.*ReplicationFactor: 1.*retention.ms=3600000" "$WORK/out"
  [ "$(grep -c 'Partition: [012].*Leader: [0-9]' "$WORK/out")" -eq 3 ]
}
round_trip() {
  local codec=$1 topic="$T-$1"
  topics --create --topic "$topic" --partitions 1 --replication-factor 1
  numbered "$codec" 200 > "$WORK/in"
  produce --topic "$topic" --compression-codec "$codec" < "$WORK/in"
  consume --topic "$topic" --partition 0 --offset earliest --max-messages 200 > "$WORK/out"
  same "$WORK/in" "$WORK/out"
}
group_reads_and_commits() {
  numbered group 300 > "$WORK/in"
  produce --topic "$T" < "$WORK/in"
  consume --topic "$T" --group "$T-group" --from-beginning --max-messages 300 > "$WORK/out"
  sort "$WORK/in" > "$WORK/in.sorted"; sort "$WORK/out" > "$WORK/out.sorted"
  same "$WORK/in.sorted" "$WORK/out.sorted"
}
describes_group() {
  groups --list | grep -Fx "$T-group"
  groups --describe --group "$T-group" > "$WORK/out"
  # GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …
  awk -v t="$T" '$2 == t { rows++; read += $4; lag += $6 } END { print rows, read, lag; exit !(rows == 3 && read == 300 && lag == 0) }' "$WORK/out"
}
offsets() {
  kafka $TOOLS.GetOffsetShell --topic "$T" --time latest > "$WORK/out"
  awk -F: '{ n += $3 } END { print n; exit n != 300 }' "$WORK/out"
  kafka $TOOLS.GetOffsetShell --topic "$T" --time earliest | awk -F: '{ n += $3 } END { exit n != 0 }'
}
resets_offsets() {
  groups --group "$T-group" --topic "$T" --reset-offsets --to-earliest --execute
  groups --describe --group "$T-group" > "$WORK/out"
  awk -v t="$T" '$2 == t { lag += $6 } END { print lag; exit lag != 300 }' "$WORK/out"
}
adds_partitions() {
  topics --alter --topic "$T" --partitions 5
  topics --describe --topic "$T" | grep -F 'PartitionCount: 5'
}
alters_config() {
  kafka kafka.admin.ConfigCommand --alter --entity-type topics --entity-name "$T" --add-config retention.ms=7200000,cleanup.policy=compact
  kafka kafka.admin.ConfigCommand --describe --entity-type topics --entity-name "$T" > "$WORK/out"
  grep -F 'retention.ms=7200000' "$WORK/out"; grep -F 'cleanup.policy=compact' "$WORK/out"
}
api_versions() {
  kafka $TOOLS.BrokerApiVersionsCommand | grep -E 'Produce\(0\)'
}
deletes() {
  groups --delete --group "$T-group"
  groups --list > "$WORK/out"; ! grep -Fx "$T-group" "$WORK/out" || return 1
  topics --delete --topic "$T"
  topics --list > "$WORK/out"; ! grep -Fx "$T" "$WORK/out" || return 1
}

check "the topic tool creates a topic once and lists it" creates_topic
check "the topic tool describes it" describes_topic
for codec in none gzip snappy lz4 zstd; do check "console producer and consumer agree with $codec" round_trip "$codec"; done
check "the console consumer reads in a group" group_reads_and_commits
check "the group tool lists and describes the group" describes_group
check "the offset tool finds both ends" offsets
check "the group tool resets offsets" resets_offsets
check "the topic tool adds partitions" adds_partitions
check "the config tool alters and describes" alters_config
check "the version tool reads what the broker serves" api_versions
check "groups and topics can be deleted" deletes
finish

#!/bin/bash
# Runs one Cassandra node in the foreground: up.sh JARS FOLDER ADDRESS SEED
#   JARS     what prepare.sh printed
#   FOLDER   where the node keeps its data; one that exists is opened again
#   ADDRESS  a loopback address of its own, such as 127.0.7.1: ports are 7000 and 9042 there
#   SEED     the address of the first node of its cluster
# HEAP_MB (640) is its heap, TIMEOUT_S (2) the seconds after which it gives up on a statement.
# FLUSH_SCHEMA=false makes tables quickly, for a node that is never started again.
set -euo pipefail
jars=$1 node=$2 address=$3 seed=$4
mkdir -p "$node"
cat > "$node/cassandra.yaml" <<YAML
cluster_name: cargo-pilot-tests
num_tokens: 16
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
data_file_directories: [$node/data]
commitlog_directory: $node/commitlog
saved_caches_directory: $node/saved
hints_directory: $node/hints
cdc_raw_directory: $node/cdc
commitlog_sync: group
commitlog_sync_group_window: 1ms
listen_address: $address
rpc_address: $address
storage_port: 7000
native_transport_port: 9042
endpoint_snitch: SimpleSnitch
seed_provider: [{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{seeds: $seed}]}]
paxos_variant: v2
paxos_state_purging: repaired
start_native_transport: true
auto_snapshot: false
read_request_timeout: ${TIMEOUT_S:-2}s
write_request_timeout: ${TIMEOUT_S:-2}s
cas_contention_timeout: ${TIMEOUT_S:-2}s
YAML
cat > "$node/logback.xml" <<'XML'
<configuration>
  <appender name="S" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d{HH:mm:ss} %-5level %logger{0} %msg%n</pattern></encoder></appender>
  <root level="WARN"><appender-ref ref="S"/></root>
</configuration>
XML
# Packages of the JDK that Cassandra 5 reaches into, from its own jvm17-server.options.
open=()
for package in java.base/{java.lang,java.lang.module,java.lang.ref,java.lang.reflect,java.io,java.net,java.nio,java.util,java.util.concurrent,java.util.concurrent.atomic,sun.nio.ch,jdk.internal.loader,jdk.internal.ref,jdk.internal.reflect,jdk.internal.math,jdk.internal.module,jdk.internal.util.jar,jdk.internal.misc} \
  jdk.management/com.sun.management.internal java.rmi/sun.rmi.transport.tcp java.rmi/sun.rmi.registry java.rmi/sun.rmi.server \
  java.management.rmi/com.sun.jmx.remote.internal.rmi java.sql/java.sql jdk.unsupported/sun.misc; do
  open+=(--add-opens "$package=ALL-UNNAMED" --add-exports "$package=ALL-UNNAMED")
done
exec java -Xms256m "-Xmx${HEAP_MB:-640}m" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djdk.attach.allowAttachSelf=true "${open[@]}" \
  -Dcassandra.config="file://$node/cassandra.yaml" -Dlogback.configurationFile="$node/logback.xml" -Dcassandra.storagedir="$node" \
  -Dcassandra-foreground=yes -Dcassandra.jmx.local.port=0 -Dcassandra.ring_delay_ms=1000 \
  "-Dcassandra.test.flush_local_schema_changes=${FLUSH_SCHEMA:-true}" -Dcassandra.consistent.rangemovement=false -Dcassandra.skip_wait_for_gossip_to_settle=0 \
  -cp "$jars/*" org.apache.cassandra.service.CassandraDaemon

//! The table of all metrics: what there is, under which name, with which labels.
//!
//! Dashboards, alert rules and their tests are made from it (`k8s/`), so that none of them asks for what does not
//! exist. No label ever names a tenant, a user, a document, a URL or a SKU: they would be unbounded, and what one
//! tenant does would be seen by whoever may read metrics.

use std::time::Duration;

/// How a metric counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often a value was at most so large, for fixed bounds.
    Histogram,
}

/// What a number is a number of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// 0 to 1, or somewhat more where a limit may be exceeded.
    Ratio,
    /// Seconds since 1970.
    UnixTime,
}

/// The part of the dashboards that shows a metric.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Row {
    /// What comes in at the public door.
    Door,
    /// Calls that services answer and make.
    Rpc,
    /// Commits of journals and the writers of aggregates.
    Journal,
    /// What follows the journals.
    Consumers,
    /// What the business does.
    Business,
    /// What was denied to somebody.
    Isolation,
    /// The process itself.
    Process,
}

/// One metric.
#[derive(PartialEq, Eq, Debug)]
pub struct Metric {
    /// Its name on the wire.
    pub name: &'static str,
    /// How it counts.
    pub kind: Kind,
    /// Its labels, in this order.
    pub labels: &'static [&'static str],
    /// What a number is a number of.
    pub unit: Unit,
    /// Where dashboards show it.
    pub row: Row,
    /// What it means: a sentence.
    pub help: &'static str,
}

/// Upper bounds of every histogram of durations.
pub const BOUNDS: [Duration; 13] = {
    let ms = Duration::from_millis;
    let us = Duration::from_micros(2_500);
    [
        ms(1),
        us,
        ms(5),
        ms(10),
        ms(25),
        ms(50),
        ms(100),
        ms(250),
        ms(500),
        ms(1_000),
        ms(2_500),
        ms(5_000),
        ms(10_000),
    ]
};

/// Labels that a metric may have. All of their values are known when the process starts.
pub const LABELS: [&str; 11] =
    ["service", "method", "code", "kind", "stream", "consumer", "op", "reason", "name", "peer", "outcome"];

macro_rules! table {
    ($($constant:ident = $name:literal $kind:ident [$($label:literal),*] $unit:ident $row:ident $help:literal;)*) => {
        $(
            #[doc = $help]
            pub static $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                unit: Unit::$unit,
                row: Row::$row,
                help: $help,
            };
        )*

        /// All metrics.
        pub static TABLE: &[&Metric] = &[$(&$constant),*];
    };
}

table! {
    HTTP_REQUESTS = "cp_http_requests_total" Counter ["kind", "code"] Count Door
        "Requests at the public door by kind (rest, grpc, page) and class of the answer (ok, client, server, limited).";
    HTTP_SECONDS = "cp_http_seconds" Histogram ["kind"] Seconds Door
        "Time from the headers of a request to the headers of its answer, at the public door.";
    HTTP_IN_FLIGHT = "cp_http_in_flight" Gauge [] Count Door
        "Requests that are being answered, those that wait for a place included.";
    HTTP_SERVING = "cp_http_serving" Gauge [] Count Door
        "Requests that have a place in service.";
    HTTP_WAITING = "cp_http_waiting" Gauge [] Count Door
        "Requests that wait for a place in service.";
    HTTP_SHED = "cp_http_shed_total" Counter ["reason"] Count Door
        "Requests that were refused for overload: their tenant's queue was full (queue), or the door was (door).";
    SCALE_SIGNAL = "cp_scale_signal" Gauge ["service", "name"] Ratio Door
        "How full a service is against its own limit: what it is scaled by.";

    RPC_SERVER_REQUESTS = "cp_rpc_server_requests_total" Counter ["service", "method", "code"] Count Rpc
        "Calls that a service answered, by method of the contract and class of the answer.";
    RPC_SERVER_METHOD_SECONDS = "cp_rpc_server_method_seconds_total" Counter ["service", "method"] Seconds Rpc
        "Time that the calls of a method took together: divided by their number, their mean.";
    RPC_SERVER_SECONDS = "cp_rpc_server_seconds" Histogram ["service", "op"] Seconds Rpc
        "Time that a service took to answer a call that reads or writes.";
    RPC_SERVER_IN_FLIGHT = "cp_rpc_server_in_flight" Gauge ["service"] Count Rpc
        "Calls that a service is answering.";
    RPC_CLIENT_REQUESTS = "cp_rpc_client_requests_total" Counter ["peer", "code"] Count Rpc
        "Calls that this process made, by the service called and class of the answer.";
    RPC_CLIENT_SECONDS = "cp_rpc_client_seconds" Histogram ["peer"] Seconds Rpc
        "Time until a called service answered.";
    RPC_CLIENT_IN_FLIGHT = "cp_rpc_client_in_flight" Gauge ["peer"] Count Rpc
        "Calls whose answer this process waits for.";

    COMMITS = "cp_commit_total" Counter ["service", "outcome"] Count Journal
        "Commits by what the store said at last: applied, moved (somebody was faster), claimed, refused, unknown.";
    COMMIT_SECONDS = "cp_commit_seconds" Histogram ["service"] Seconds Journal
        "Time that a commit took in the store, until its outcome was known.";
    COMMIT_COMMANDS = "cp_commit_commands_per_commit" Histogram ["service"] Count Journal
        "Commands that one commit answered.";
    COMMIT_CONFLICTS = "cp_commit_conflicts_total" Counter ["service"] Count Journal
        "Commits that were decided again because another writer had moved the aggregate.";
    COMMIT_UNKNOWN = "cp_commit_unknown_total" Counter ["service"] Count Journal
        "Answers of the store that left open whether a commit was applied; each is pursued.";
    COMMIT_UNDECIDED_AGE = "cp_commit_undecided_age_seconds" Gauge ["service"] Seconds Journal
        "How long the oldest commit has been pursued whose outcome is not known; 0 if there is none.";
    ACTORS = "cp_actor_count" Gauge ["service"] Count Journal
        "Aggregates whose state this process keeps in memory.";
    ACTORS_BUSY = "cp_actor_busy_ratio" Gauge ["service"] Ratio Journal
        "Share of them that are at work.";
    ACTORS_EVICTED = "cp_actor_evicted_total" Counter ["service"] Count Journal
        "Aggregates that made room for others.";

    CONSUMER_LAG = "cp_consumer_lag" Gauge ["consumer", "stream"] Count Consumers
        "Groups of commits that a consumer has heard of and not handled yet.";
    CONSUMER_OLDEST = "cp_consumer_oldest_seconds" Gauge ["consumer", "stream"] Seconds Consumers
        "How long ago a consumer had handled everything; 0 while it waits for news.";
    CONSUMER_APPLIED = "cp_consumer_applied_total" Counter ["consumer", "stream"] Count Consumers
        "Entries that took effect.";
    CONSUMER_FAILED = "cp_consumer_failed_total" Counter ["consumer", "stream"] Count Consumers
        "Steps that failed and were tried again.";
    CONSUMER_DEAD = "cp_consumer_dead_total" Counter ["consumer", "stream"] Count Consumers
        "Aggregates that were parked since the start: an entry of theirs could not be understood.";

    MOVEMENTS = "cp_movements_total" Counter ["kind"] Count Business
        "Movements that were posted, by kind; a repeated request posts none.";

    ISOLATION_DENIED = "cp_isolation_denied_total" Counter ["reason"] Count Isolation
        "Calls that were denied to who made them, by reason.";

    READY = "cp_ready" Gauge [] Count Process
        "1 while this process takes requests.";
    LOOP_LAG = "cp_loop_lag_seconds" Gauge [] Seconds Process
        "How late the task was that must run every second.";
    BUILD_INFO = "cp_build_info" Gauge ["name"] Count Process
        "1; its label says which version runs.";
    SPANS = "cp_telemetry_spans_total" Counter ["outcome"] Count Process
        "Spans of traces: exported, dropped because the queue was full, failed on their way to the collector.";
    CPU = "process_cpu_seconds_total" Counter [] Seconds Process
        "CPU time of the process.";
    OPEN_FDS = "process_open_fds" Gauge [] Count Process
        "Open files and sockets.";
    MAX_FDS = "process_max_fds" Gauge [] Count Process
        "Open files and sockets that the system permits.";
    VIRTUAL_BYTES = "process_virtual_memory_bytes" Gauge [] Bytes Process
        "Address space of the process.";
    RESIDENT_BYTES = "process_resident_memory_bytes" Gauge [] Bytes Process
        "Memory of the process.";
    STARTED_AT = "process_start_time_seconds" Gauge [] UnixTime Process
        "When the process was started.";
    THREADS = "process_threads" Gauge [] Count Process
        "Threads of the process.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_labels_are_as_the_contract_wants_them() {
        let mut names = BTreeSet::new();
        for metric in TABLE {
            assert!(names.insert(metric.name), "{} is there twice", metric.name);
            assert!(metric.name.starts_with("cp_") || metric.name.starts_with("process_"), "{}", metric.name);
            let total = metric.name.ends_with("_total");
            assert_eq!(total, metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.labels.iter().all(|label| LABELS.contains(label)), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
        assert!(BOUNDS.is_sorted());
    }

    /// What could name a tenant or somebody in it is no label.
    #[test]
    fn no_label_names_anybody() {
        for label in LABELS {
            for word in ["tenant", "user", "business", "sku", "url", "path", "id", "key", "actor"] {
                assert_ne!(label, word);
            }
        }
    }
}

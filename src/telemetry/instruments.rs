//! The one list of what is measured: for Prometheus, for OTLP, and for the reference in `docs/metrics.md`.
//!
//! Names and units are those of <https://prometheus.io/docs/practices/naming/>: base units, moments instead of ages,
//! and labels whose values the configuration bounds.

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

impl Kind {
    /// As Prometheus spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Since when a counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Since the process was started, or what is counted for.
    Process,
    /// Since the journal was made: it goes on after a restart.
    Journal,
    /// What was there when it was first asked for is in it, and nobody knows since when.
    FirstAsked,
}

/// Something that is measured.
#[derive(Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Its name, without the `_total` that a counter has at its end.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    /// An expression of PromQL to alert on, or to draw.
    pub hint: &'static str,
}

impl Instrument {
    /// The name of its series, before `_bucket`, `_sum` and `_count`.
    #[must_use]
    pub fn series(&self) -> String {
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{suffix}", self.name)
    }

    /// `seconds`, `bytes`; empty for a number of things.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        ["seconds", "bytes"].into_iter().find(|unit| self.name.ends_with(unit)).unwrap_or_default()
    }

    /// Since when it counts.
    #[must_use]
    pub fn since(&self) -> Since {
        let of_journal = [
            &ACCEPTED,
            &SOURCE_UNPARSED,
            &SOURCE_IGNORED,
            &DESTINATION_ACCEPTED,
            &NOT_ROUTED,
            &DELIVERED,
            &PURGED,
            &REPLAYED,
        ];
        match self.name {
            name if of_journal.iter().any(|instrument| instrument.name == name) => Since::Journal,
            name if name == SOURCE_GAPS.name => Since::FirstAsked,
            _ => Since::Process,
        }
    }
}

/// What was read of an instrument.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The instrument.
    pub instrument: &'static Instrument,
    /// The values of its labels, in their order.
    pub labels: Vec<String>,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Buckets {
        /// The upper bounds; a last bucket has none.
        bounds: &'static [f64],
        /// How many observations fell into each bucket, not cumulated.
        counts: Vec<u64>,
        /// All observations together.
        sum: f64,
    },
}

macro_rules! instruments {
    ($($id:ident $kind:ident $name:literal [$($label:literal),*] $help:literal $hint:literal)*) => {
        $(
            #[doc = $help]
            pub static $id: Instrument = Instrument {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
                hint: $hint,
            };
        )*
        /// All of them, in the order in which they are told.
        pub static ALL: &[&Instrument] = &[$(&$id),*];
    };
}

instruments! {
    BUILD_INFO Gauge "audit_relay_build_info" ["version"]
        "The version that runs; always 1."
        "count by (version) (audit_relay_build_info)"
    READY Gauge "audit_relay_ready" []
        "Whether records are accepted: 1 while every source and the journal work."
        "audit_relay_ready == 0"
    FINDINGS Gauge "audit_relay_findings" ["severity"]
        "What is found wrong around the relay and the relay cannot mend, such as a Flipt that sends nothing: severe findings lose events or keep them from coming."
        "audit_relay_findings{severity=\"severe\"} > 0"
    CONFIG_INFO Gauge "audit_relay_config_info" ["sha256"]
        "The SHA-256 of the configuration that is applied; always 1."
        "count by (sha256) (audit_relay_config_info)"
    CONFIG_SUCCESSFUL Gauge "audit_relay_config_last_reload_successful" []
        "Whether the configuration that was written last is the one that is applied."
        "audit_relay_config_last_reload_successful == 0"
    CONFIG_APPLIED_AT Gauge "audit_relay_config_last_reload_success_timestamp_seconds" []
        "When a configuration was last applied."
        "changes(audit_relay_config_last_reload_success_timestamp_seconds[1h]) > 0"
    TELEMETRY_SPANS Counter "audit_relay_telemetry_spans" ["outcome"]
        "Spans of the relay itself by what became of them: exported, or lost: queue_full (more were made than were sent), export_failed (the collector was not reached or refused them), rejected (it took the request without them), shutdown (the relay ended first). No series while no traces are sent."
        "sum by (outcome) (increase(audit_relay_telemetry_spans_total{outcome!=\"exported\"}[15m])) > 0"
    TELEMETRY_METRIC_EXPORTS Counter "audit_relay_telemetry_metric_exports" ["outcome"]
        "Requests in which these metrics were sent by OTLP: exported, or failed (the next one makes up for it). No series while none are sent."
        "increase(audit_relay_telemetry_metric_exports_total{outcome=\"failed\"}[15m]) > 0"
    ACCEPTED Counter "audit_relay_accepted_records" []
        "Records that this journal accepted in its life: events, gaps, what could not be read, acts of operators."
        "rate(audit_relay_accepted_records_total[5m])"
    SOURCE_RECORDS Counter "audit_relay_source_records" ["source"]
        "Records that a source handed to the journal since it was started."
        "rate(audit_relay_source_records_total[5m])"
    SOURCE_UNPARSED Counter "audit_relay_source_unparsed" ["source"]
        "Inputs of a source that could not be read as audit events."
        "increase(audit_relay_source_unparsed_total[1h]) > 0"
    SOURCE_IGNORED Counter "audit_relay_source_ignored_lines" ["source"]
        "Lines of a source that are no audit events, such as Flipt's own log, and are not kept."
        "rate(audit_relay_source_ignored_lines_total[5m])"
    SOURCE_GAPS Counter "audit_relay_source_gaps" ["source"]
        "Gaps, places at which events are known to be missing: those in the journal when this was first asked for, and later ones."
        "increase(audit_relay_source_gaps_total[1h]) > 0"
    SOURCE_LAST_GAP Gauge "audit_relay_source_last_gap_timestamp_seconds" ["source"]
        "When the last gap was recorded; no series where there is none."
        "time() - audit_relay_source_last_gap_timestamp_seconds < 3600"
    SOURCE_REFUSED Counter "audit_relay_source_refused_pushes" ["source"]
        "Pushes that were refused for a wrong signature or token. Flipt does not send them again: they are lost."
        "increase(audit_relay_source_refused_pushes_total[15m]) > 0"
    SOURCE_UNTAKEN Counter "audit_relay_source_untaken_pushes" ["source"]
        "Pushes that could not be taken: too large, not readable, too late, or sent to another path. Flipt does not send them again: they are lost."
        "increase(audit_relay_source_untaken_pushes_total[15m]) > 0"
    SOURCE_RECLAIMED Counter "audit_relay_source_reclaimed_bytes" ["source"]
        "Bytes of its files that a source gave back to the file system since it was started (`reclaim: punch_hole`)."
        "rate(audit_relay_source_reclaimed_bytes_total[15m])"
    SOURCE_STALLED Gauge "audit_relay_source_stalled" ["source"]
        "Whether a source does not go on."
        "audit_relay_source_stalled == 1"
    SOURCE_BEHIND Gauge "audit_relay_source_behind_bytes" ["source"]
        "Bytes of a source's files that are not in the journal yet."
        "audit_relay_source_behind_bytes > 1e7"
    SOURCE_LAST_EVENT Gauge "audit_relay_source_last_event_timestamp_seconds" ["source"]
        "When a source last gave a record; no series before its first."
        "time() - audit_relay_source_last_event_timestamp_seconds > 3 * 86400"
    JOURNAL_USED Gauge "audit_relay_journal_used_bytes" []
        "What the journal uses of its limit. It may well be all of it: what was delivered is kept until its room is needed."
        "audit_relay_journal_used_bytes / audit_relay_journal_limit_bytes"
    JOURNAL_OWED Gauge "audit_relay_journal_owed_bytes" []
        "About how much of the journal cannot be dropped, since a destination has yet to take it."
        "audit_relay_journal_owed_bytes / audit_relay_journal_limit_bytes > 0.8"
    JOURNAL_LIMIT Gauge "audit_relay_journal_limit_bytes" []
        "How large the journal may become (`journal.max_size`)."
        "audit_relay_journal_limit_bytes"
    JOURNAL_FULL Gauge "audit_relay_journal_full" []
        "Whether the journal is at its limit and nothing is accepted until a destination moves on."
        "audit_relay_journal_full == 1"
    JOURNAL_DISK_FULL Gauge "audit_relay_journal_disk_full" []
        "Whether the disk is full and nothing is accepted."
        "audit_relay_journal_disk_full == 1"
    JOURNAL_DAMAGED Gauge "audit_relay_journal_damaged" []
        "Whether the journal was found damaged; the next start salvages it."
        "audit_relay_journal_damaged == 1"
    JOURNAL_CORRUPT Counter "audit_relay_journal_corrupt_records" []
        "Records that were altered or removed since they were accepted, as far as they were met since the start."
        "increase(audit_relay_journal_corrupt_records_total[1h]) > 0"
    JOURNAL_COMMIT Histogram "audit_relay_journal_commit_duration_seconds" []
        "How long it takes until what was written is on the disk, a group of records at a time."
        "histogram_quantile(0.99, rate(audit_relay_journal_commit_duration_seconds_bucket[5m])) > 0.5"
    STATE Gauge "audit_relay_destination_state" ["destination", "state"]
        "1 for the state that a destination is in, 0 for the others: running, waiting (tried again soon), blocked (needs a person, mostly), paused (by a person), orphaned (no longer configured)."
        "audit_relay_destination_state{state=\"blocked\"} == 1"
    DESTINATION_ACCEPTED Counter "audit_relay_destination_accepted_records" ["destination"]
        "Records that were accepted since a destination was first seen. It is the sum of not routed, delivered, dead, purged and waiting."
        "audit_relay_destination_accepted_records_total - audit_relay_destination_not_routed_records_total - audit_relay_destination_delivered_records_total - audit_relay_destination_dead_letters - audit_relay_destination_purged_records_total - audit_relay_destination_waiting_records != 0"
    NOT_ROUTED Counter "audit_relay_destination_not_routed_records" ["destination"]
        "Records that are not for a destination, by its routes or its own rules."
        "rate(audit_relay_destination_not_routed_records_total[5m])"
    DELIVERED Counter "audit_relay_destination_delivered_records" ["destination"]
        "Records that a destination took."
        "rate(audit_relay_destination_delivered_records_total[5m])"
    DEAD Gauge "audit_relay_destination_dead_letters" ["destination"]
        "Records that a destination would not take or that expired for it, and that are kept for a person to look at."
        "audit_relay_destination_dead_letters > 0"
    PURGED Counter "audit_relay_destination_purged_records" ["destination"]
        "Dead letters that a person purged or that moved to a file, and what was discarded."
        "increase(audit_relay_destination_purged_records_total[1h]) > 0"
    REPLAYED Counter "audit_relay_destination_replayed_records" ["destination"]
        "Records that were delivered once more by replays; no part of the sum."
        "rate(audit_relay_destination_replayed_records_total[5m])"
    WAITING Gauge "audit_relay_destination_waiting_records" ["destination"]
        "Records that wait for a destination: decided to be for it, or not decided on yet."
        "audit_relay_destination_waiting_records > 1000"
    LAG Gauge "audit_relay_destination_lag_records" ["destination"]
        "How many records of the journal lie behind the last one up to which a destination has settled everything."
        "audit_relay_destination_lag_records > 10000"
    OLDEST_WAITING Gauge "audit_relay_destination_oldest_waiting_timestamp_seconds" ["destination"]
        "When the oldest record that waits for a destination was accepted; no series where none waits."
        "time() - audit_relay_destination_oldest_waiting_timestamp_seconds > 900"
    LAST_SUCCESS Gauge "audit_relay_destination_last_success_timestamp_seconds" ["destination"]
        "When a destination last took something; no series before the first time."
        "time() - audit_relay_destination_last_success_timestamp_seconds > 3600 and audit_relay_destination_waiting_records > 0"
    IN_FLIGHT Gauge "audit_relay_destination_in_flight_requests" ["destination"]
        "Requests to a destination that are under way."
        "audit_relay_destination_in_flight_requests"
    FAILED_IN_A_ROW Gauge "audit_relay_destination_failed_attempts" ["destination"]
        "Failed attempts since a destination last answered well."
        "audit_relay_destination_failed_attempts > 10"
    ATTEMPTS Counter "audit_relay_destination_attempts" ["destination", "outcome"]
        "Requests to a destination by what came of them: delivered, retry (sent again), rejected (these records are not taken), blocked (the endpoint or its configuration is wrong)."
        "sum by (destination) (rate(audit_relay_destination_attempts_total{outcome!=\"delivered\"}[5m])) > 0.1"
    RESPONSES Counter "audit_relay_destination_responses" ["destination", "code"]
        "Answers of a destination by HTTP status code; no series until a code occurs."
        "sum by (destination, code) (increase(audit_relay_destination_responses_total{code=~\"4..\"}[15m])) > 0"
    ATTEMPT_DURATION Histogram "audit_relay_destination_attempt_duration_seconds" ["destination"]
        "How long requests to a destination take."
        "histogram_quantile(0.95, sum by (destination, le) (rate(audit_relay_destination_attempt_duration_seconds_bucket[5m]))) > 5"
    PROCESS_CPU Counter "process_cpu_seconds" []
        "CPU time that the process used."
        "rate(process_cpu_seconds_total[5m]) > 0.8"
    PROCESS_RESIDENT Gauge "process_resident_memory_bytes" []
        "Memory of the process that is resident."
        "process_resident_memory_bytes > 2e8"
    PROCESS_VIRTUAL Gauge "process_virtual_memory_bytes" []
        "Memory of the process, resident or not."
        "process_virtual_memory_bytes"
    PROCESS_FDS Gauge "process_open_fds" []
        "File descriptors that are open."
        "process_open_fds / process_max_fds > 0.8"
    PROCESS_MAX_FDS Gauge "process_max_fds" []
        "How many file descriptors may be open."
        "process_max_fds"
    PROCESS_STARTED Gauge "process_start_time_seconds" []
        "When the process was started."
        "changes(process_start_time_seconds[1h]) > 3"
}

#[cfg(test)]
mod tests;

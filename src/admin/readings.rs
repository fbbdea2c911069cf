//! What is measured, gathered when it is asked for: nothing on the way of an event pays for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::report::{DestinationReport, JournalReport, SourceReport};
use super::{Office, Standing};
use crate::delivery::{DURATION_BOUNDS_SECONDS, LaneHandle};
use crate::event::{Sequence, Timestamp};
use crate::journal::{COMMIT_BOUNDS_SECONDS, Gaps, JournalError};
use crate::telemetry::instruments::{self as of, Instrument, Reading, Value};
use crate::telemetry::otlp::{Counts, MetricCounts, SpanCounts};
use crate::telemetry::process;

/// The states of a destination.
const STATES: [&str; 5] = ["running", "waiting", "blocked", "paused", "orphaned"];

/// What comes of an attempt; each has a series from the beginning.
const OUTCOMES: [&str; 4] = ["delivered", "retry", "rejected", "blocked"];

/// Reads a running relay.
pub struct Readings {
    office: Arc<Office>,
    gaps: Mutex<KnownGaps>,
}

/// Gaps that were counted already.
#[derive(Default)]
struct KnownGaps {
    through: Sequence,
    by_source: BTreeMap<String, (u64, Timestamp)>,
}

impl Readings {
    /// Of what an office knows.
    #[must_use]
    pub fn of(office: Arc<Office>) -> Self {
        Self { office, gaps: Mutex::default() }
    }

    /// Everything, now.
    ///
    /// # Errors
    /// When the journal cannot be asked.
    pub async fn gather(&self) -> Result<Vec<Reading>, JournalError> {
        // One after the other: whoever asks often keeps no more than one reader of the journal from the lanes.
        let mut gaps = self.gaps.lock().await;
        let standing = self.office.standing();
        let report = self.office.report(Timestamp::now()).await?;
        let mut told = Told::default();
        told.label(&of::BUILD_INFO, &[&report.relay.version], 1.0);
        told.number(&of::READY, f64::from(self.office.unready().await.is_empty()));
        let severe = report.findings.iter().filter(|finding| finding.severe).count();
        told.label(&of::FINDINGS, &["severe"], severe as f64);
        told.label(&of::FINDINGS, &["minor"], (report.findings.len() - severe) as f64);
        let configuration = &report.configuration;
        if let Some(sha256) = &configuration.sha256 {
            told.label(&of::CONFIG_INFO, &[sha256], 1.0);
        }
        let successful = configuration.last_reload.as_ref().is_none_or(|reload| reload.successful);
        told.number(&of::CONFIG_SUCCESSFUL, f64::from(successful));
        told.moment(&of::CONFIG_APPLIED_AT, &[], configuration.applied_at);
        told.telemetry(self.office.telemetry());
        told.count(&of::ACCEPTED, &[], report.journal.last_sequence);
        // Of one that is configured no longer there is nothing to watch.
        for source in report.sources.iter().filter(|source| standing.plan.sources.contains_key(&source.name))
        {
            told.source(source, &standing);
        }
        self.tell_gaps(&mut gaps, &mut told, &standing, report.journal.last_sequence).await?;
        let status = self.office.journal().status().await?;
        told.journal(&report.journal, status.full);
        told.count(&of::JOURNAL_OWED, &[], self.office.owed_bytes(&status).await?);
        let commits = self.office.journal().commits();
        let value = Value::Buckets {
            bounds: &COMMIT_BOUNDS_SECONDS,
            counts: commits.durations.to_vec(),
            sum: commits.duration_sum.as_secs_f64(),
        };
        told.value(&of::JOURNAL_COMMIT, &[], value);
        for destination in report.destinations.iter().chain(&report.orphans) {
            let lane = standing.lanes.get(&destination.name);
            told.destination(destination, lane, report.journal.last_sequence);
        }
        told.0.extend(process::readings());
        Ok(told.0)
    }

    /// Counts what has come since they were last counted.
    async fn tell_gaps(
        &self,
        known: &mut KnownGaps,
        told: &mut Told,
        standing: &Standing,
        through: Sequence,
    ) -> Result<(), JournalError> {
        if through > known.through {
            for Gaps { source, count, last_at } in self.office.journal().gaps(known.through, through).await? {
                let (counted, last) = known.by_source.entry(source).or_insert((0, last_at));
                *counted += count;
                *last = last_at.max(*last);
            }
            known.through = through;
        }
        for name in standing.plan.sources.keys().filter(|name| !known.by_source.contains_key(*name)) {
            told.count(&of::SOURCE_GAPS, &[name], 0);
        }
        for (source, (count, last_at)) in &known.by_source {
            told.count(&of::SOURCE_GAPS, &[source], *count);
            told.moment(&of::SOURCE_LAST_GAP, &[source], Some(*last_at));
        }
        Ok(())
    }
}

/// What was read so far.
#[derive(Default)]
struct Told(Vec<Reading>);

impl Told {
    fn value(&mut self, instrument: &'static Instrument, labels: &[&str], value: Value) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.0.push(Reading { instrument, labels, value });
    }

    fn label(&mut self, instrument: &'static Instrument, labels: &[&str], number: f64) {
        self.value(instrument, labels, Value::Number(number));
    }

    fn number(&mut self, instrument: &'static Instrument, number: f64) {
        self.label(instrument, &[], number);
    }

    fn count(&mut self, instrument: &'static Instrument, labels: &[&str], count: u64) {
        self.label(instrument, labels, count as f64);
    }

    fn moment(&mut self, instrument: &'static Instrument, labels: &[&str], moment: Option<Timestamp>) {
        if let Some(moment) = moment {
            self.label(instrument, labels, moment.unix_micros() as f64 / 1e6);
        }
    }

    fn telemetry(&mut self, counts: &Counts) {
        for (outcome, count) in counts.spans().iter().flat_map(SpanCounts::by_outcome) {
            self.count(&of::TELEMETRY_SPANS, &[outcome], count);
        }
        for (outcome, count) in counts.metrics().iter().flat_map(MetricCounts::by_outcome) {
            self.count(&of::TELEMETRY_METRIC_EXPORTS, &[outcome], count);
        }
    }

    fn source(&mut self, source: &SourceReport, standing: &Standing) {
        let name = [source.name.as_str()];
        let records = standing.sources.get(&source.name).map_or(0, |status| status.borrow().records);
        self.count(&of::SOURCE_RECORDS, &name, records);
        self.count(&of::SOURCE_UNPARSED, &name, source.unparsed);
        self.count(&of::SOURCE_IGNORED, &name, source.ignored);
        self.count(&of::SOURCE_REFUSED, &name, source.refused);
        self.count(&of::SOURCE_UNTAKEN, &name, source.untaken);
        let reclaimed =
            standing.sources.get(&source.name).map_or(0, |status| status.borrow().reclaimed_bytes);
        self.count(&of::SOURCE_RECLAIMED, &name, reclaimed);
        self.label(&of::SOURCE_STALLED, &name, f64::from(source.stalled.is_some()));
        self.count(&of::SOURCE_BEHIND, &name, source.behind_bytes);
        self.moment(&of::SOURCE_LAST_EVENT, &name, source.last_event_at);
    }

    fn journal(&mut self, journal: &JournalReport, is_full: bool) {
        self.count(&of::JOURNAL_USED, &[], journal.used_bytes);
        self.count(&of::JOURNAL_LIMIT, &[], journal.max_size_bytes);
        self.number(&of::JOURNAL_FULL, f64::from(is_full));
        self.number(&of::JOURNAL_DISK_FULL, f64::from(journal.disk_full));
        self.number(&of::JOURNAL_DAMAGED, f64::from(journal.damaged));
        self.count(&of::JOURNAL_CORRUPT, &[], journal.corrupt_records);
    }

    fn destination(&mut self, destination: &DestinationReport, lane: Option<&LaneHandle>, last: Sequence) {
        let name = [destination.name.as_str()];
        for state in STATES {
            self.label(&of::STATE, &[name[0], state], f64::from(destination.state == state));
        }
        let books = &destination.books;
        self.count(&of::DESTINATION_ACCEPTED, &name, destination.accepted);
        self.count(&of::NOT_ROUTED, &name, books.not_routed);
        self.count(&of::DELIVERED, &name, books.delivered);
        self.count(&of::DEAD, &name, books.dead);
        self.count(&of::PURGED, &name, books.purged);
        self.count(&of::REPLAYED, &name, books.replayed);
        self.count(&of::WAITING, &name, destination.waiting);
        self.moment(&of::OLDEST_WAITING, &name, destination.oldest_waiting_at);
        self.moment(&of::LAST_SUCCESS, &name, destination.last_success_at);
        self.count(&of::IN_FLIGHT, &name, destination.in_flight as u64);
        self.count(&of::FAILED_IN_A_ROW, &name, destination.failed_attempts.into());
        let Some(lane) = lane else { return };
        self.count(&of::LAG, &name, last.saturating_sub(lane.status.borrow().cursor));
        let meter = lane.meter.read();
        for outcome in OUTCOMES {
            let count = meter.outcomes.get(outcome).copied().unwrap_or_default();
            self.count(&of::ATTEMPTS, &[name[0], outcome], count);
        }
        for (code, count) in &meter.status_codes {
            self.count(&of::RESPONSES, &[name[0], &code.to_string()], *count);
        }
        let value = Value::Buckets {
            bounds: &DURATION_BOUNDS_SECONDS,
            counts: meter.durations.to_vec(),
            sum: meter.duration_sum.as_secs_f64(),
        };
        self.value(&of::ATTEMPT_DURATION, &name, value);
    }
}

//! The console: one readable line for each record, or the envelope as one line of JSON.

use super::envelope::envelope;
use super::telling::{Tone, sentence};
use super::{
    Delivery, Destination, Limits, Notice, Outbound, Outcome, RenderContext, Rendered, Request, Response,
};
use crate::config::plan::{BatchPlan, ConsolePlan};
use crate::event::Timestamp;

/// Standard output.
#[derive(Debug)]
pub struct Console {
    plan: ConsolePlan,
    limits: Limits,
}

impl Console {
    /// A console as planned.
    #[must_use]
    pub fn new(plan: ConsolePlan, batch: BatchPlan) -> Self {
        // What writes at one place writes one after another.
        Self { plan, limits: Limits { max_concurrency: 1, ..batch.into() } }
    }
}

impl Destination for Console {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn render(&self, deliveries: &[Delivery], _: &RenderContext) -> Rendered {
        let mut bytes = Vec::new();
        for delivery in deliveries {
            if self.plan.json {
                envelope(delivery, &mut bytes);
            } else {
                bytes.extend_from_slice(line(delivery).as_bytes());
            }
            bytes.push(b'\n');
        }
        let members = deliveries.iter().map(|delivery| delivery.record.id).collect();
        Rendered {
            requests: vec![Outbound { members, request: Request::Stdout(bytes) }],
            ..Rendered::default()
        }
    }

    fn notice(&self, notice: &Notice, _: &RenderContext) -> Option<Vec<Request>> {
        let mut bytes = if self.plan.json { notice.envelope() } else { notice.line().into_bytes() };
        bytes.push(b'\n');
        Some(vec![Request::Stdout(bytes)])
    }

    fn classify(&self, response: &Response, _: Timestamp) -> Outcome {
        super::classify_local(response)
    }
}

/// The line, without its newline: time of day in UTC, and what happened.
fn line(delivery: &Delivery) -> String {
    let record = &delivery.record;
    let time = record.event_time.unwrap_or(record.accepted_at).to_utc();
    let sentence = sentence(delivery);
    let mark = if sentence.tone == Tone::Warning { "⚠ " } else { "" };
    format!("{:02}:{:02}:{:02}  {mark}{sentence}", time.hour(), time.minute(), time.second())
}

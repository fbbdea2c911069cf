//! Files of envelopes, one JSON text a line, named by the time of acceptance.

use std::path::PathBuf;

use super::envelope::envelope;
use super::{
    Delivery, Destination, Limits, Notice, Outbound, Outcome, RenderContext, Rendered, Request, Response,
};
use crate::config::plan::{BatchPlan, FileDestinationPlan};
use crate::event::Timestamp;

/// NDJSON files.
#[derive(Debug)]
pub struct NdjsonFile {
    plan: FileDestinationPlan,
    limits: Limits,
}

impl NdjsonFile {
    /// Files as planned.
    #[must_use]
    pub fn new(plan: FileDestinationPlan, batch: BatchPlan) -> Self {
        // What writes at one place writes one after another.
        Self { plan, limits: Limits { max_concurrency: 1, ..batch.into() } }
    }
}

impl Destination for NdjsonFile {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn render(&self, deliveries: &[Delivery], _: &RenderContext) -> Rendered {
        let mut rendered = Rendered::default();
        let path_of = |delivery: &Delivery| path_at(&self.plan.path, delivery.record.accepted_at);
        // Only neighbours share a write: what follows must not come before, even where the clock went back.
        for group in deliveries.chunk_by(|left, right| path_of(left) == path_of(right)) {
            let mut bytes = Vec::new();
            for delivery in group {
                envelope(delivery, &mut bytes);
                bytes.push(b'\n');
            }
            let members = group.iter().map(|delivery| delivery.record.id).collect();
            let request = Request::AppendFile { path: path_of(&group[0]), bytes };
            rendered.requests.push(Outbound { members, request });
        }
        rendered
    }

    fn notice(&self, notice: &Notice, context: &RenderContext) -> Option<Vec<Request>> {
        let mut bytes = notice.envelope();
        bytes.push(b'\n');
        Some(vec![Request::AppendFile { path: path_at(&self.plan.path, context.now), bytes }])
    }

    fn classify(&self, response: &Response, _: Timestamp) -> Outcome {
        super::classify_local(response)
    }
}

/// Fills `%Y`, `%m`, `%d` and `%H` in; `%%` is a percent sign, and any other stays as written.
fn path_at(pattern: &str, time: Timestamp) -> PathBuf {
    let time = time.to_utc();
    let mut path = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        path.push_str(&rest[..at]);
        let sign = rest[at + 1..].chars().next();
        match sign {
            Some('Y') => path.push_str(&format!("{:04}", time.year())),
            Some('m') => path.push_str(&format!("{:02}", u8::from(time.month()))),
            Some('d') => path.push_str(&format!("{:02}", time.day())),
            Some('H') => path.push_str(&format!("{:02}", time.hour())),
            Some('%') => path.push('%'),
            Some(other) => path.extend(['%', other]),
            None => path.push('%'),
        }
        rest = &rest[at + 1 + sign.map_or(0, char::len_utf8)..];
    }
    path.push_str(rest);
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_follows_the_clock() {
        let time = Timestamp::parse_rfc3339("2026-01-02T03:04:05+05:00").unwrap();
        for (pattern, expected) in [
            ("/a/%Y-%m-%d/%H.ndjson", "/a/2026-01-01/22.ndjson"),
            ("/a/100%%-%x-%é%", "/a/100%-%x-%é%"),
            ("plain", "plain"),
        ] {
            assert_eq!(path_at(pattern, time), PathBuf::from(expected));
        }
    }
}

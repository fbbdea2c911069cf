use std::path::PathBuf;

use serde_json::Value;

use super::{batch, context, deliveries, fixture, time};
use crate::config::plan::FileDestinationPlan;
use crate::destination::file::NdjsonFile;
use crate::destination::{Destination, Outcome, Request, Response};

#[test]
fn a_batch_over_midnight_goes_to_two_files_in_order() {
    let mut all: Vec<_> = deliveries(&fixture("v0.2_webhook_bodies.ndjson")).into_iter().take(4).collect();
    let times =
        ["2026-11-22T23:59:59Z", "2026-11-22T23:59:59.9Z", "2026-11-23T00:00:00Z", "2026-11-22T23:59:59Z"];
    for (delivery, accepted_at) in all.iter_mut().zip(times) {
        delivery.record.accepted_at = time(accepted_at);
    }
    let file = NdjsonFile::new(FileDestinationPlan { path: "/var/audit/%Y/%m-%d.ndjson".into() }, batch(100));
    assert_eq!(file.limits().max_concurrency, 1);
    let rendered = file.render(&all, &context(&all));
    let mut ids = Vec::new();
    let mut paths = Vec::new();
    for outbound in &rendered.requests {
        let Request::AppendFile { path, bytes } = &outbound.request else { panic!("{outbound:?}") };
        paths.push(path.clone());
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.ends_with('\n'));
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), outbound.members.len());
        ids.extend(lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()));
    }
    let (first, second) =
        (PathBuf::from("/var/audit/2026/11-22.ndjson"), PathBuf::from("/var/audit/2026/11-23.ndjson"));
    assert_eq!(paths, [first.clone(), second, first]);
    assert_eq!(ids, all.iter().map(|delivery| delivery.record.id.to_string()).collect::<Vec<_>>());
    assert_eq!(file.classify(&Response::Written, time(times[0])), Outcome::Delivered);
}

//! A problem of the relay, or its end, as an alert.

use serde_json::{Value, json};

use super::cut::{cut, name, paragraph, plain, quiet};
use super::tags;
use super::texts::shown;
use super::time::iso;
use crate::config::plan::{DatadogApi, DatadogPlan};
use crate::destination::notice::{Notice, NoticeKind};

/// Characters of a title, of a sentence, and of an aggregation key, at most.
const MAX_TITLE: usize = 500;
const MAX_LINE: usize = 1_000;
const MAX_KEY: usize = 100;

/// The body of a request, in either version of the API.
pub(super) fn body(notice: &Notice, plan: &DatadogPlan) -> Value {
    let (status, v1_status, priority) = match (notice.kind, notice.severe) {
        (NoticeKind::Recovery, _) => ("ok", "success", "5"),
        (NoticeKind::Problem, true) => ("error", "error", "2"),
        (NoticeKind::Problem, false) => ("warn", "warning", "3"),
    };
    let title = quiet(&cut(&format!("audit-relay {}: {}", notice.relay, notice.sentence), MAX_TITLE));
    let key = format!("audit-relay:{}:{}", notice.relay, notice.key);
    let key = name(&key, MAX_KEY).unwrap_or_else(|| "audit-relay".to_owned());
    let own = [("relay", &*notice.relay), ("problem", &*notice.code)];
    let own = own.into_iter().filter_map(|(key, value)| tags::tag(key, value));
    let tags: Vec<String> = plan.tags.iter().filter_map(|tag| tags::normalised(tag)).chain(own).collect();
    let mut lines = vec![quiet(&cut(&notice.sentence, MAX_LINE))];
    let remedy = notice.remedy.as_ref().filter(|_| notice.kind == NoticeKind::Problem);
    lines.extend(remedy.map(|remedy| format!("Remedy: {}", quiet(&cut(remedy, MAX_LINE)))));
    lines.push(format!("Since {}", notice.since));
    match plan.api {
        DatadogApi::V1 => {
            let mut parts: Vec<String> = lines.iter().map(|line| paragraph(&plain(line))).collect();
            parts.extend(notice.status_url.as_ref().map(|url| format!("Status: {}", shown(url))));
            json!({
                "title": title,
                "text": format!("%%% \n{}\n %%%", parts.join("\n\n")),
                "alert_type": v1_status,
                "priority": "normal",
                "date_happened": notice.at.unix_seconds(),
                "source_type_name": "flipt",
                "aggregation_key": key,
                "tags": tags,
            })
        }
        DatadogApi::V2 => {
            let custom = json!({"audit_relay": {
                "problem": notice.code, "about": notice.about, "since": notice.since.to_string()}});
            let mut alert = json!({"status": status, "priority": priority, "custom": custom});
            if let Some(url) = &notice.status_url {
                alert["links"] = json!([{"category": "resource", "url": url, "title": "Status"}]);
            }
            json!({"data": {"type": "event", "attributes": {
                "integration_id": "custom-events",
                "category": "alert",
                "title": title,
                "message": lines.join("\n"),
                "timestamp": iso(notice.at),
                "aggregation_key": key,
                "tags": tags,
                "attributes": alert,
            }}})
        }
    }
}

//! Whether records are accepted.

use serde::Serialize;

use super::Office;

/// Something that is not ready: names of sources and of conditions, no path, no text of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unready {
    /// `source flipt`, `journal`.
    pub what: String,
    /// Why.
    pub why: &'static str,
}

/// What keeps records from being accepted. A destination is none of it.
pub(super) async fn unready(office: &Office) -> Vec<Unready> {
    let standing = office.standing();
    let mut found = Vec::new();
    if standing.plan.is_salvaged {
        found.push(Unready { what: "configuration".to_owned(), why: "it is not right" });
    }
    for name in standing.plan.sources.keys() {
        let why = match standing.sources.get(name).map(|status| status.borrow()) {
            None => "it was not started",
            Some(status) if status.stalled.is_some() => "it is stalled",
            Some(status) if !status.looked => "it has not looked at its files yet",
            Some(_) => continue,
        };
        found.push(Unready { what: format!("source {name}"), why });
    }
    let failed = office.journal().failed().borrow().is_some();
    let why = match office.journal().status().await {
        _ if failed => Some("it has failed"),
        Ok(status) if status.disk_full => Some("the disk is full"),
        Ok(status) if status.full => Some("it is full"),
        Ok(_) => None,
        Err(_) => Some("it cannot be read"),
    };
    found.extend(why.map(|why| Unready { what: "journal".to_owned(), why }));
    found
}

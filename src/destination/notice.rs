//! What people are told of the relay itself: a problem, and that it is over.
//!
//! A notice is no record: it is in no journal and in no books. It goes out through a destination that is well,
//! in that destination's own form.

use serde::Serialize;
use serde_json::json;

use crate::event::Timestamp;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// Something needs a person.
    Problem,
    /// It does not any more.
    Recovery,
}

impl NoticeKind {
    /// As types of records are spelt.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Recovery => "recovery",
        }
    }
}

/// One thing to tell. Its texts hold no secret and nothing of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its own id, the same in every attempt.
    pub id: String,
    /// Which.
    pub kind: NoticeKind,
    /// Whether events do not come or are lost for it.
    pub severe: bool,
    /// A stable word: `destination_blocked`, `gap`, `journal_filling`, …
    pub code: String,
    /// What the problem is known by: the same for all that is told of it.
    pub key: String,
    /// Which destination or source it is about, if one.
    pub about: Option<String>,
    /// What is wrong, or was, in one sentence.
    pub sentence: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When it was so.
    pub at: Timestamp,
    /// Whether it was told before and still lasts.
    pub is_repeated: bool,
    /// The name of the relay.
    pub relay: String,
    /// Where the status page is, for people.
    pub status_url: Option<String>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    spec: &'static str,
    id: &'a str,
    #[serde(rename = "type")]
    kind: String,
    timestamp: String,
    source: &'static str,
    relay: &'a str,
    summary: &'a str,
    data: serde_json::Value,
}

impl Notice {
    /// In the style of the envelope: one JSON object.
    #[must_use]
    pub fn envelope(&self) -> Vec<u8> {
        let envelope = Envelope {
            spec: "1",
            id: &self.id,
            kind: format!("audit_relay.{}", self.kind.as_str()),
            timestamp: self.at.to_string(),
            source: "audit-relay",
            relay: &self.relay,
            summary: &self.sentence,
            data: self.data(),
        };
        serde_json::to_vec(&envelope).unwrap_or_default()
    }

    /// As a CloudEvent, structured.
    #[must_use]
    pub fn cloud_event(&self) -> Vec<u8> {
        let mut event = json!({
            "specversion": "1.0",
            "id": self.id,
            "source": "/audit-relay",
            "type": format!("io.audit_relay.{}", self.kind.as_str()),
            "time": self.at.to_string(),
            "datacontenttype": "application/json",
            "data": self.data(),
        });
        if let Some(about) = &self.about {
            event["subject"] = about.as_str().into();
        }
        event.to_string().into_bytes()
    }

    /// One readable line, without its newline.
    #[must_use]
    pub fn line(&self) -> String {
        let time = self.at.to_utc();
        let (mark, word) = match self.kind {
            NoticeKind::Problem => ("⚠ ", if self.is_repeated { "still a problem" } else { "problem" }),
            NoticeKind::Recovery => ("", "over"),
        };
        let clock = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
        let remedy = self.remedy.as_ref().filter(|_| self.kind == NoticeKind::Problem);
        let remedy = remedy.map_or_else(String::new, |remedy| format!(" Remedy: {remedy}"));
        format!("{clock}  {mark}audit-relay: {word}: {}{remedy}", self.sentence)
    }

    fn data(&self) -> serde_json::Value {
        json!({
            "code": self.code,
            "about": self.about,
            "severe": self.severe,
            "since": self.since.to_string(),
            "repeated": self.is_repeated,
            "remedy": self.remedy,
            "status_url": self.status_url,
        })
    }
}

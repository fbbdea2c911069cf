//! An explanation, as it is told to programs.

use serde::{Deserialize, Serialize};

use crate::event::{EventId, Origin, Sequence, Timestamp};

/// Why one record goes where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Its id; of what no journal holds, a sample.
    pub id: EventId,
    /// Its place in the journal; none of what no journal holds.
    pub sequence: Option<Sequence>,
    /// The relay that first took it in, where that was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The event's own time, else when it was accepted.
    pub time: Timestamp,
    /// What it tells, in a sentence.
    pub sentence: String,
    /// What routes may ask about it.
    pub facts: ExplainedFacts,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// What each route makes of it, in the order of writing.
    pub routes: Vec<ExplainedRoute>,
    /// What becomes of it at each destination.
    pub destinations: Vec<ExplainedDestination>,
}

/// What routes may ask; nothing where it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ExplainedFacts {
    pub record: String,
    pub source: String,
    #[serde(rename = "type")]
    pub noun: Option<String>,
    pub action: Option<String>,
    pub status: Option<String>,
    pub environment: Option<String>,
    pub namespace: Option<String>,
    /// False where it is known that there is none (tokens).
    pub has_namespace: bool,
    /// Of the flag, segment, namespace or token that it belongs to.
    pub key: Option<String>,
    /// What that is.
    pub key_of: Option<String>,
    pub teams: Option<Vec<String>>,
    pub live: Option<bool>,
    pub kind: Option<String>,
    pub changed: Option<Vec<String>>,
    pub actor_kind: Option<String>,
}

/// What one route makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedRoute {
    /// Its name.
    pub name: String,
    /// Where it leads.
    pub to: Vec<String>,
    /// Whether it takes the record.
    pub takes: bool,
    /// The first condition of `when` that does not hold; none where it takes the record, or `unless` holds.
    pub because: Option<Because>,
}

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because {
    /// Its key.
    pub condition: String,
    /// What it asks for, as written.
    pub wants: String,
    /// What it saw; nothing: that is not known.
    pub saw: Option<String>,
}

/// What becomes of it at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExplainedDestination {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The routes that lead there.
    pub by: Vec<String>,
    /// Whether it is to be sent there.
    pub is_reached: bool,
    /// Why the destination cannot work now, if it cannot.
    pub cannot_work: Option<String>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// Whether the destination leaves it out by its own rules.
    pub left_out: bool,
    /// Why it would be a dead letter at once.
    pub unrenderable: Option<String>,
    /// What would be sent.
    pub requests: Vec<ExplainedRequest>,
}

/// One thing that would be sent or written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedRequest {
    /// `POST https://audit.example.com/…`, `standard output`, `append to FILE`.
    pub to: String,
    /// Names and values; secrets are hidden.
    pub headers: Vec<(String, String)>,
    /// What goes out.
    pub body: ExplainedBody,
    /// How large it is.
    pub size: Size,
}

/// What goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExplainedBody {
    /// As it is, but for secrets.
    Text(String),
    /// What is no text, in base64.
    Base64(String),
}

/// Sizes and limits, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// The body.
    pub body_bytes: usize,
    /// The event as Flipt wrote it.
    pub event_bytes: usize,
    /// So many bytes of events share a request, at most.
    pub max_bytes: usize,
}

impl Explanation {
    /// About how much it is to tell, in bytes.
    pub(super) fn size(&self) -> usize {
        let requests = self.destinations.iter().flat_map(|destination| &destination.requests);
        let bodies = requests.map(|request| match &request.body {
            ExplainedBody::Text(text) | ExplainedBody::Base64(text) => text.len() + 512,
        });
        1_024 + bodies.sum::<usize>()
    }
}

//! One audit event, as slices of its JSON.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::framing::{is_level, unwrap};
use super::tokens::{for_each_entry, key_name, text};
use crate::event::{RecordKind, StoredRecord, Timestamp};

/// Why a JSON text is no audit event. The messages never repeat the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseEventError {
    /// It begins as an object and ends before the object does.
    #[error("the JSON ends too early, after {bytes} bytes")]
    Truncated {
        /// How long it is.
        bytes: usize,
    },
    /// It is no JSON object.
    #[error("not JSON at byte {byte}: {problem}")]
    NotJson {
        /// Where, counted from 1.
        byte: usize,
        /// What the reader expected.
        problem: String,
    },
    /// A JSON object without what every event has.
    #[error("no audit event: \"{0}\" is missing, or is no string")]
    Missing(&'static str),
}

impl ParseEventError {
    fn from_json(error: &serde_json::Error, json: &str) -> Self {
        if error.is_eof() {
            return Self::Truncated { bytes: json.len() };
        }
        let problem = error.to_string();
        // serde_json ends its messages with the place, which is told better as a byte.
        let problem = problem.split(" at line ").next().unwrap_or_default();
        let problem = if error.is_data() { "expected a JSON object" } else { problem }.to_owned();
        let before: usize =
            json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        Self::NotJson { byte: before + error.column(), problem }
    }
}

/// The top level of a JSON object that may be an event: each known key's value as written (the last one,
/// where a key is repeated, as Go reads it).
#[derive(Default)]
pub(super) struct TopLevel<'a> {
    pub(super) version: Option<&'a RawValue>,
    pub(super) noun: Option<&'a RawValue>,
    pub(super) action: Option<&'a RawValue>,
    pub(super) status: Option<&'a RawValue>,
    pub(super) metadata: Option<&'a RawValue>,
    pub(super) payload: Option<&'a RawValue>,
    pub(super) timestamp: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    level: Option<&'a RawValue>,
}

impl<'a> TopLevel<'a> {
    /// Reads `json`; `other` is called with each entry, in order, that is no part of an event.
    pub(super) fn read(
        json: &'a str,
        mut other: impl FnMut(&'a RawValue, &'a RawValue),
    ) -> Result<Self, ParseEventError> {
        let mut top = Self::default();
        for_each_entry(json, |key, value| match &*key_name(key) {
            "version" => top.version = Some(value),
            "type" => top.noun = Some(value),
            "action" => top.action = Some(value),
            "status" => top.status = Some(value),
            "metadata" => top.metadata = Some(value),
            "payload" => top.payload = Some(value),
            "timestamp" => top.timestamp = Some(value),
            name => {
                match name {
                    "M" => top.message = Some(value),
                    // The default of Flipt's `log.keys.level`, and what people rename it to.
                    "L" | "level" | "lvl" | "severity" => top.level = Some(value),
                    _ => {}
                }
                other(key, value);
            }
        })
        .map_err(|error| ParseEventError::from_json(&error, json))?;
        Ok(top)
    }

    /// Whether this is the JSON form of standard output, of which `T` and `M` are framing.
    pub(super) fn is_framed(&self) -> bool {
        self.message.is_some_and(|message| message.get() == "\"AUDIT\"")
    }

    /// Whether this is the JSON form of Flipt's application log: a level, and not an audit event that
    /// happens to have an unknown key of that name.
    pub(super) fn is_application_log(&self) -> bool {
        let has_level =
            self.level.and_then(text).is_some_and(|level| is_level(level.as_bytes())) && !self.is_framed();
        let is_event = self.noun.is_some()
            && self.action.is_some()
            && (self.metadata.is_some() || self.payload.is_some());
        has_level && !is_event
    }

    pub(super) fn into_event(self) -> Result<AuditEvent<'a>, ParseEventError> {
        let string = |value: Option<&'a RawValue>| value.and_then(text);
        let timestamp = string(self.timestamp).unwrap_or_default();
        Ok(AuditEvent {
            noun: string(self.noun).ok_or(ParseEventError::Missing("type"))?,
            action: string(self.action).ok_or(ParseEventError::Missing("action"))?,
            version: string(self.version).unwrap_or_default(),
            status: string(self.status).unwrap_or(Cow::Borrowed("success")),
            metadata: self.metadata,
            payload: self.payload.filter(|payload| payload.get() != "null"),
            time: Timestamp::parse_rfc3339(&timestamp),
            timestamp,
        })
    }
}

/// One audit event of any Flipt since v1.21, borrowed from its JSON.
///
/// Only `type` and `action` are required: the shape has changed several times without a change of
/// `version` (`internal/server/audit/events.go` and `types.go` of Flipt).
#[derive(Debug, Clone)]
pub struct AuditEvent<'a> {
    /// `0.1` (v1.21 to v1.43) or `0.2`; empty where absent.
    pub version: Cow<'a, str>,
    /// `type`: `flag`, `segment`, …
    pub noun: Cow<'a, str>,
    /// `created`, `updated` or `deleted`.
    pub action: Cow<'a, str>,
    /// `success` (also where absent, as before v1.44) or `denied`.
    pub status: Cow<'a, str>,
    /// As written: an object with the key `actor`.
    pub metadata: Option<&'a RawValue>,
    /// As written; `None` for `null` (denied attempts) too.
    pub payload: Option<&'a RawValue>,
    /// As written: RFC 3339 in whole seconds and the server's own zone; empty where absent.
    pub timestamp: Cow<'a, str>,
    /// What `timestamp` says, where it can be read.
    pub time: Option<Timestamp>,
}

impl<'a> AuditEvent<'a> {
    /// Reads one event from its JSON, whatever its nesting, without building trees.
    ///
    /// # Errors
    /// If the text is not one JSON object, or has no `type` or `action`.
    pub fn parse(json: &'a str) -> Result<Self, ParseEventError> {
        TopLevel::read(json, |_, _| ())?.into_event()
    }

    /// The event that bytes hold, where they do.
    pub(crate) fn read(json: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(json).ok().and_then(|json| Self::parse(json).ok())
    }

    /// Whether Flipt's authorization refused what was tried.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.status == "denied"
    }

    /// Who did it, as far as the event tells.
    #[must_use]
    pub fn actor(&self) -> Actor<'a> {
        let mut actor = Actor::default();
        let mut inner = None;
        if let Some(metadata) = self.metadata {
            let _ = for_each_entry(metadata.get(), |key, value| {
                if key_name(key) == "actor" {
                    inner = Some(value);
                }
            });
        }
        if let Some(inner) = inner {
            let _ = for_each_entry(inner.get(), |key, value| actor.take(&key_name(key), value));
        }
        actor
    }
}

/// Reads the event that a record holds, where it does, and hands it on.
pub(crate) fn with_event<T>(record: &StoredRecord, use_it: impl FnOnce(Option<&AuditEvent<'_>>) -> T) -> T {
    let is_event = record.kind == RecordKind::Event;
    let json = is_event.then(|| unwrap(&record.original, record.framing).ok()).flatten();
    use_it(json.as_deref().and_then(AuditEvent::read).as_ref())
}

/// Who did it. Flipt tells no user id; `ip` is what `X-Forwarded-For` said, so anybody can write anything
/// there. All fields are `None` where absent or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Actor<'a> {
    /// The method: `none`, `token`, `oidc`, `github`, `jwt`, `kubernetes`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Cow<'a, str>>,
    /// Where from, as claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<Cow<'a, str>>,
    /// The e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Cow<'a, str>>,
    /// The name of the person, the token or the service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Cow<'a, str>>,
    /// The address of a picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<Cow<'a, str>>,
}

impl<'a> Actor<'a> {
    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes one entry of either form: the fixed keys of v1.39 and later, or the flat map before, whose keys
    /// are `io.flipt.auth.<method>.<claim>` (`internal/server/auth` of v1.21 to v1.38). Fixed keys win.
    fn take(&mut self, key: &str, value: &'a RawValue) {
        let Some(said) = text(value).filter(|said| !said.is_empty()) else { return };
        let Some(claim) = key.strip_prefix("io.flipt.auth.") else {
            match key {
                "authentication" => self.authentication = Some(said),
                "ip" => self.ip = Some(said),
                "email" => self.email = Some(said),
                "name" => self.name = Some(said),
                "picture" => self.picture = Some(said),
                _ => {}
            }
            return;
        };
        let field = match claim.rsplit_once('.').unwrap_or(("", claim)) {
            ("k8s.serviceaccount", "name") => &mut self.name,
            (method, _) if method.contains('.') => return, // `k8s.pod.name` is a place
            (_, "email") => &mut self.email,
            (_, "name") => &mut self.name,
            (_, "picture") => &mut self.picture,
            _ => return,
        };
        field.get_or_insert(said);
    }
}

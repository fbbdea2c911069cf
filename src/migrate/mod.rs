//! From the configuration of a Flipt that used its own webhook sink to ours.
//!
//! `read.rs` reads what matters of a Flipt configuration, `go_template.rs` puts templates of Go into ours,
//! `write.rs` writes the configuration, with a comment for each decision, and `verify.rs` looks whether it is one. No secret is ever written: what is one,
//! or may be, becomes a reference.

mod go_template;
mod read;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub use read::{NotFlipt, read};
pub use write::written;

use std::time::Duration;

use crate::config::secret::Secret;

/// What matters of a Flipt configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FliptConfig {
    /// Where Flipt listens, as its relay sees it beside it.
    pub url: String,
    /// The file of its log sink.
    pub log_file: Option<String>,
    /// Whether its log sink is on.
    pub log: bool,
    /// Its webhook sink, where it is written.
    pub webhook: Option<Webhook>,
    /// Whether its Kafka sink is on.
    pub kafka: bool,
    /// `audit.events`, where written.
    pub events: Vec<String>,
    /// Whether callers must sign in.
    pub authentication_required: bool,
}

/// The webhook sink.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Webhook {
    /// Whether it is on.
    pub enabled: bool,
    /// Its address.
    pub url: Option<Secret>,
    /// Whether it signs.
    pub signs: bool,
    /// The longest wait between attempts.
    pub max_backoff: Option<Duration>,
    /// Its templates.
    pub templates: Vec<Template>,
}

/// A template of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// Its address.
    pub url: Option<Secret>,
    /// The body, in Go's language.
    pub body: String,
    /// Further headers.
    pub headers: Vec<(String, Secret)>,
}

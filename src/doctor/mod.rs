//! Asks Flipt what keeps events from coming, or makes them poorer.
//!
//! `ask.rs` asks `/meta/info` and `/meta/config`, `facts.rs` reads the answers, `diagnose` says what they mean
//! for a relay; [`Doctor`] does so while a relay runs, `audit-relay doctor` once.

mod ask;
mod diagnose;
mod facts;
mod release;
mod rounds;

pub use diagnose::{Relayed, diagnose};
pub use facts::{ConfigFacts, Facts, Target, WebhookFacts};
pub use release::Release;
pub use rounds::Doctor;

use crate::admin::Finding;
use crate::config::plan::{FliptPlan, Plan};

/// What one examination has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Examination {
    /// Who was asked, without what may be secret.
    pub flipt: String,
    /// What was asked and answered.
    pub answered: Vec<&'static str>,
    /// What Flipt told; `None` where it told nothing.
    pub facts: Option<Facts>,
    /// What is wrong, severe things first.
    pub findings: Vec<Finding>,
    /// Whether all was told that was asked.
    pub is_complete: bool,
    /// Whether nobody answered, which may pass by itself.
    pub is_silent: bool,
}

/// Asks once. `refused` tells how many pushes a source has refused while it has taken none.
pub async fn examine(plan: &Plan, flipt: &FliptPlan, refused: impl Fn(&str) -> u64) -> Examination {
    let shown = ask::shown(flipt);
    let asked = match ask::Meta::new(flipt) {
        Ok(meta) => meta.ask().await,
        Err(why) => ask::Asked { info: None, config: None, trouble: Some(ask::Trouble::Unusable(why)) },
    };
    let mut answered = Vec::new();
    answered.extend(asked.info.as_ref().map(|_| ask::INFO));
    answered.extend(asked.config.as_ref().map(|_| ask::CONFIG));
    let facts = asked.info.as_ref().map(|info| Facts::read(info, asked.config.as_ref()));
    let mut findings = facts
        .as_ref()
        .map_or_else(Vec::new, |facts| diagnose(facts, &Relayed::of(plan, &flipt.instance, refused)));
    // A Flipt v2 tells nothing there, and that says enough.
    let trouble = asked.trouble.filter(|_| !facts.as_ref().is_some_and(|facts| facts.is_v2));
    findings.extend(trouble.iter().map(|trouble| ask::finding(trouble, &shown)));
    Examination {
        flipt: shown,
        answered,
        facts,
        findings,
        is_complete: trouble.is_none(),
        is_silent: matches!(trouble, Some(ask::Trouble::Silent(_))),
    }
}

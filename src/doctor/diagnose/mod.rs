//! What keeps events from coming, or makes them poorer. Pure.

mod poorer;
mod releases;
mod sinks;
#[cfg(test)]
mod tests;

use super::facts::Facts;
use crate::admin::Finding;
use crate::config::plan::{FileSourcePlan, HttpSourcePlan, Plan, SourceKind};

/// The release that is best to run: the newest whose audit events all come.
const GOOD: &str = "v1.61.0";

/// What the relay does with the events of one Flipt.
pub struct Relayed<'p> {
    plan: &'p Plan,
    instance: &'p str,
    files: Vec<(&'p str, &'p FileSourcePlan)>,
    pushes: Vec<Pushes<'p>>,
}

/// A source that takes pushes.
struct Pushes<'p> {
    name: &'p str,
    plan: &'p HttpSourcePlan,
    /// Pushes that were refused since the relay was started, and none was taken; 0 where that is not known.
    refused: u64,
}

impl<'p> Relayed<'p> {
    /// By a plan; `refused` tells how many pushes a source has refused while it has taken none.
    #[must_use]
    pub fn of(plan: &'p Plan, instance: &'p str, refused: impl Fn(&str) -> u64) -> Self {
        let (mut files, mut pushes) = (Vec::new(), Vec::new());
        for (name, source) in plan.sources.iter().filter(|(_, source)| source.instance == instance) {
            match &source.kind {
                SourceKind::File(file) => files.push((name.as_str(), file)),
                SourceKind::Http(plan) => pushes.push(Pushes { name, plan, refused: refused(name) }),
            }
        }
        Self { plan, instance, files, pushes }
    }
}

/// Every finding, severe ones first.
#[must_use]
pub fn diagnose(facts: &Facts, relayed: &Relayed<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.is_v2 {
        let which = facts.release.map_or_else(|| "v2".to_owned(), |release| release.to_string());
        findings.push(severe(
            "flipt_v2",
            format!("Flipt {which} writes no audit events at all: only Flipt v1 does."),
            format!("image: docker.flipt.io/flipt/flipt:{GOOD}   # or read the Git history, which is v2's own record"),
        ));
        return findings;
    }
    findings.extend(releases::findings(facts, relayed));
    if facts.release.is_some_and(|release| release < releases::FIRST) {
        return findings;
    }
    findings.extend(sinks::findings(facts, relayed));
    findings.extend(poorer::findings(facts, relayed));
    findings.sort_by_key(|finding| !finding.severe);
    findings
}

/// Events do not come, or are lost.
fn severe(code: &str, sentence: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { severe: true, ..poorer(code, sentence, remedy) }
}

/// Events are poorer, or later.
fn poorer(code: &str, sentence: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding {
        code: code.to_owned(),
        severe: false,
        sentence: sentence.into(),
        remedy: Some(remedy.into()).filter(|remedy| !remedy.is_empty()),
    }
}

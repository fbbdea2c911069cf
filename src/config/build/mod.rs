//! What was written, turned into what it means; with it the checks that look at more than one key.

mod datadog;
mod destinations;
mod fingerprint;
mod flipt;
mod holds;
mod intake;
mod links;
mod listeners;
mod messages;
mod otlp;
mod owners;
mod problems;
mod redact;
mod relay;
mod routes;
mod samples;
mod slack;
mod sources;
mod telemetry;
mod webhook;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::origins::Origins;
use super::plan::{JournalPlan, LogFormat, LogPlan, Plan, Surroundings};
use super::problem::{Problem, nearest};
use super::raw::{LogWord, Raw};
use super::secrets::References;
use super::walk::words;
use crate::routing::{EnvironmentRule, Environments, Pattern, RouteTable};

/// What building needs to know beside what was written.
pub(super) struct Context<'a> {
    pub(super) origins: &'a Origins<'a>,
    /// Destinations that lack the value of a reference, and why.
    pub(super) blocked: &'a BTreeMap<String, String>,
    /// Sources that lack what they check pushes by, and why.
    pub(super) blocked_sources: &'a BTreeMap<String, String>,
    /// That the address or the token of Flipt lacks the value of a reference.
    pub(super) flipt_is_blocked: bool,
    /// That what telemetry is sent to lacks the value of a reference.
    pub(super) telemetry_is_blocked: bool,
    pub(super) references: References,
}

/// A plan, and what is to say about it; the plan counts only where there are no problems.
pub(super) struct Built {
    pub(super) plan: Plan,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) notes: Vec<Problem>,
    /// What the samples of the configuration show to be wrong.
    pub(super) failed_tests: Vec<Problem>,
}

/// Collects what is to say.
pub(super) struct Judge<'a> {
    context: &'a Context<'a>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    notes: Vec<Problem>,
}

impl Judge<'_> {
    fn problem(&mut self, path: &str, message: &str, expected: Option<&str>) {
        self.problems.push(self.context.origins.problem(path, message, expected));
    }

    fn warn(&mut self, path: &str, message: &str) {
        self.warnings.push(self.context.origins.problem(path, message, None));
    }

    fn note(&mut self, path: &str, message: &str) {
        self.notes.push(self.context.origins.problem(path, message, None));
    }

    /// A name that is not one of `known`.
    fn unknown(&mut self, path: &str, what: &str, written: &str, known: &[&str]) {
        let expected = if known.is_empty() { None } else { Some(words(known)) };
        let mut problem = self.context.origins.problem_at_value(path, what, expected.as_deref());
        problem.nearest = nearest(written, known.iter().copied()).map(|name| format!("`{name}`"));
        self.problems.push(problem);
    }

    fn is_written(&self, path: &str) -> bool {
        self.context.origins.is_written(path)
    }
}

/// Builds the plan.
pub(super) fn build(raw: &Raw, context: &Context<'_>) -> Built {
    let mut judge = Judge { context, problems: Vec::new(), warnings: Vec::new(), notes: Vec::new() };
    let environments = environments(raw, &mut judge);
    let sources = sources::build(raw, &mut judge);
    let owners = Arc::new(owners::build(raw, &mut judge));
    let around = Surroundings { owners: Arc::clone(&owners), links: Arc::new(links::build(raw, &mut judge)) };
    let destinations = destinations::build(raw, &around, &mut judge);
    relay::forwards(raw, &sources, &destinations, &mut judge);
    let routes = routes::build(raw, &environments, &owners, &destinations, &mut judge);
    let (health, admin) = listeners::build(raw, &mut judge);
    let problems = problems::build(raw, &destinations, &mut judge);
    let flipt = flipt::build(raw, &sources, &mut judge);
    let telemetry = telemetry::build(raw, &mut judge);
    if raw.log.payloads {
        judge.note(
            "log.payloads",
            "at `DEBUG` the log holds what events hold, the names and addresses of people among it: not for a log that \
             everybody may read",
        );
    }
    let plan = Plan {
        name: raw.name.0.clone(),
        data_dir: PathBuf::from(&raw.data_dir.0),
        flipt,
        external_url: raw.flipt.external_url.as_ref().map(|url| url.0.expose().to_owned()),
        sources,
        destinations,
        routes: RouteTable { environments, owners, routes },
        journal: JournalPlan {
            keep: raw.journal.keep.0,
            max_size_bytes: raw.journal.max_size.0,
            changes: raw.journal.changes,
        },
        dead_letters_max_bytes: raw.dead_letters.max_size.0.min(raw.journal.max_size.0 / 8),
        health,
        admin,
        problems,
        log: LogPlan {
            level: raw.log.level.0.clone(),
            format: match raw.log.format {
                LogWord::Auto => None,
                LogWord::Text => Some(LogFormat::Text),
                LogWord::Json => Some(LogFormat::Json),
            },
            payloads: raw.log.payloads,
        },
        telemetry,
        shutdown_timeout: raw.shutdown_timeout.0,
        shutdown_keep_reading: raw.shutdown_keep_reading.0,
        is_salvaged: false,
    };
    // What is wrong with the routes themselves is told first.
    let failed_tests =
        if judge.problems.is_empty() { samples::failed(raw, &plan, context) } else { Vec::new() };
    let Judge { problems, warnings, notes, .. } = judge;
    Built { plan, problems, warnings, notes, failed_tests }
}

/// The rules in the order of writing: the first that fits wins.
fn environments(raw: &Raw, judge: &mut Judge<'_>) -> Environments {
    let mut rules: Vec<EnvironmentRule> = raw
        .environments
        .iter()
        .map(|(name, namespaces)| EnvironmentRule {
            name: Arc::from(name.as_str()),
            namespaces: namespaces.0.iter().map(|pattern| Pattern::new(pattern.0.clone())).collect(),
        })
        .collect();
    rules.sort_by_key(|rule| judge.context.origins.position("environments", &rule.name));
    for (index, rule) in rules.iter().enumerate() {
        if &*rule.name == "unknown" {
            let message = "`unknown` means that no environment is known";
            judge.problem("environments.unknown", message, Some("another name"));
        }
        for (item, pattern) in rule.namespaces.iter().enumerate() {
            let taken = |earlier: &&EnvironmentRule| {
                earlier.namespaces.iter().any(|taker| {
                    taker.as_str() == pattern.as_str()
                        || (!pattern.as_str().contains('*') && taker.matches(pattern.as_str()))
                })
            };
            if let Some(earlier) = rules[..index].iter().find(taken) {
                let path = format!("environments.{}[{item}]", rule.name);
                judge.warn(
                    &path,
                    &format!("never reached: `{}` stands before it and takes the same", earlier.name),
                );
            }
        }
    }
    Environments { fallback: raw.environment.as_ref().map(|name| Arc::from(name.0.as_str())), rules }
}

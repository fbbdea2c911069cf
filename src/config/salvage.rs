//! What can be used of a configuration that is not right, for a relay that must not end for it.
//!
//! Enough to accept events and to keep them: `name`, `data_dir`, `sources`, `health`, `journal`, `log` and how to
//! shut down, each as far as it is right in itself; no source where it cannot be told where the journal is. Destinations
//! are held: nobody knows what is routed to them, so all is kept for them.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::build::{self, Context};
use super::include;
use super::layers::{self, Variable};
use super::load::{LoadOptions, Loaded};
use super::origins::Origins;
use super::plan::{BatchPlan, DeliverSince, DestinationPlan, Plan, RetryPlan, TlsPlan};
use super::problem::{Place, Problem};
use super::raw::Raw;
use super::raw::destination::KIND_DEFAULTS;
use super::scalars::is_name;
use super::schema;
use super::secrets::References;
use super::walk::{self, Inputs};
use super::watch::Watched;
use super::yaml::{self, Content, Mark, Node};

/// What is used of a configuration that is not right.
const KEPT: [&str; 9] = [
    "name",
    "data_dir",
    "sources",
    "health",
    "admin",
    "journal",
    "log",
    "shutdown_timeout",
    "shutdown_keep_reading",
];

/// So often something is left out and the rest tried again.
const MAX_ROUNDS: usize = 100;

/// Why a destination is held.
const HELD: &str = "the configuration is not right: all is kept until it is";

/// A plan that journals and delivers nothing, made of what is right of a configuration that [`super::load()`] refuses.
///
/// It looks at the files that `watched` names.
#[must_use]
pub fn salvage(options: &LoadOptions, watched: Watched) -> Loaded {
    let path = options.path();
    let text = include::read(&path).unwrap_or_default();
    let mut digest = Sha256::new();
    include::add(&mut digest, &text);
    let (written, is_whole) = pieces(&text);
    let destinations = held(&written);
    // A journal in a place that was guessed is one that nobody finds again: then nothing is taken in.
    let is_placed = |root: &Node, variables: &[Variable]| {
        variables.iter().any(|variable| variable.path == "data_dir")
            || root.child("data_dir").is_some()
            || is_whole && written.child("data_dir").is_none()
    };
    let mut root = written.clone();
    retain(&mut root, |key| KEPT.contains(&key));
    let mut variables = layers::variables(&options.environment);
    variables.retain(|variable| KEPT.contains(&section(&variable.path)));
    let mut plan = None;
    for _ in 0..MAX_ROUNDS {
        let (found, problems) = judge(&root, &variables, options);
        plan = found;
        let is_less = problems
            .iter()
            .fold(false, |is_less, problem| is_less | leave_out(problem, &mut root, &mut variables));
        if !is_less {
            break;
        }
    }
    let plan = plan.or_else(|| {
        let empty = Node::map_at(Mark { file: 0, line: 1, column: 1 });
        judge(&empty, &[], options).0
    });
    // Of nothing, a plan can always be made.
    let mut plan = plan.expect("defaults make a plan");
    plan.destinations = destinations;
    if !is_placed(&root, &variables) {
        plan.sources.clear();
    }
    plan.is_salvaged = true;
    Loaded {
        plan,
        warnings: Vec::new(),
        notes: Vec::new(),
        failed_tests: Vec::new(),
        tests: 0,
        files: vec![path],
        secret_files: Vec::new(),
        sha256: digest.finalize().into(),
        watched,
    }
}

/// What is written, as a tree; where it is no YAML as a whole, those of its sections that are. And whether it is whole.
fn pieces(text: &str) -> (Node, bool) {
    let empty = Node::map_at(Mark { file: 0, line: 1, column: 1 });
    let is_map = |node: &Node| matches!(node.content, Content::Map(_));
    if let Some(root) = yaml::parse(text, 0, &mut Vec::new()) {
        return if is_map(&root) { (root, true) } else { (empty, false) };
    }
    let begins = |line: &str| line.starts_with(|first: char| first.is_ascii_lowercase());
    let mut sections: Vec<String> = Vec::new();
    for line in text.lines() {
        match sections.last_mut() {
            Some(section) if !begins(line) => *section += &format!("\n{line}"),
            _ => sections.push(line.to_owned()),
        }
    }
    let mut entries: Vec<(String, Node)> = Vec::new();
    for section in sections {
        let parsed = yaml::parse(&section, 0, &mut Vec::new());
        let found = parsed.filter(is_map).map(|node| node.content);
        if let Some(Content::Map(more)) = found {
            let is_new = |(key, _): &(String, Node)| entries.iter().all(|(known, _)| known != key);
            let more: Vec<_> = more.into_iter().filter(is_new).collect();
            entries.extend(more);
        }
    }
    (Node { content: Content::Map(entries), ..empty }, false)
}

/// The plan of what is left, and what is wrong with it.
fn judge(root: &Node, variables: &[Variable], options: &LoadOptions) -> (Option<Plan>, Vec<Problem>) {
    let schema = schema::base();
    let merged = layers::merge(&schema, root, variables);
    let inputs = Inputs {
        schema: &schema,
        merged: &merged,
        variables,
        environment: &options.environment,
        references: References::Resolve,
        allow_inline_secrets: options.allow_inline_secrets,
    };
    let (mut value, found) = walk::walk(&inputs, root);
    let mut problems = found.problems;
    // Without any source the relay waits for one.
    if let Some(map) = value.as_object_mut() {
        map.entry("sources").or_insert_with(|| serde_json::json!({}));
    }
    let Ok(raw) = serde_json::from_value::<Raw>(value) else { return (None, problems) };
    let origins = Origins { file: root, variables };
    let built = build::build(
        &raw,
        &Context {
            origins: &origins,
            blocked: &found.blocked,
            blocked_sources: &found.blocked_sources,
            flipt_is_blocked: found.flipt_is_blocked,
            telemetry_is_blocked: found.telemetry_is_blocked,
            references: References::Resolve,
        },
    );
    problems.extend(built.problems);
    (Some(built.plan), problems)
}

/// Leaves out what a problem is about; false where there is nothing to leave out.
fn leave_out(problem: &Problem, root: &mut Node, variables: &mut Vec<Variable>) -> bool {
    if let Place::Variable(name) = &problem.place {
        let before = variables.len();
        variables.retain(|variable| variable.name != *name);
        return variables.len() < before;
    }
    let steps: Vec<&str> = problem.key.split(['.', '[']).collect();
    match steps.as_slice() {
        [section, key, ..] => {
            let Some(node) = child(root, section) else { return false };
            // What cannot be left out alone takes its section with it.
            remove(node, key) || remove(root, section)
        }
        [section] => remove(root, section),
        [] => false,
    }
}

fn child<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Node> {
    let Content::Map(entries) = &mut node.content else { return None };
    entries.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
}

fn remove(node: &mut Node, key: &str) -> bool {
    let before = node.entries().len();
    retain(node, |name| yaml::shown(name) != key);
    node.entries().len() < before
}

fn retain(node: &mut Node, is_kept: impl Fn(&str) -> bool) {
    if let Content::Map(entries) = &mut node.content {
        entries.retain(|(name, _)| is_kept(name));
    }
}

fn section(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

/// The destinations that have names, held.
fn held(root: &Node) -> BTreeMap<String, DestinationPlan> {
    let written = root.child("destinations").map(Node::entries).unwrap_or_default();
    let named = written.iter().filter(|(name, _)| is_name(name));
    named.map(|(name, node)| (name.clone(), DestinationPlan::held(text(node, "type")))).collect()
}

fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    match &node.child(key)?.content {
        Content::Text(text) => Some(text.as_str()),
        _ => None,
    }
}

impl DestinationPlan {
    /// A destination for which all is kept, since nobody can say what is routed to it, of the `type` that is written.
    #[must_use]
    pub fn held(written: Option<&str>) -> Self {
        let mut kinds = KIND_DEFAULTS.iter().map(|(kind, ..)| *kind);
        Self {
            type_word: kinds.find(|kind| Some(*kind) == written).unwrap_or("unknown"),
            kind: Err(HELD.to_owned()),
            is_held: true,
            batch: BatchPlan { max_events: 1, max_bytes: 1 << 20, timeout: Duration::ZERO },
            retry: RetryPlan {
                initial_backoff: Duration::from_secs(1),
                max_backoff: Duration::from_secs(300),
            },
            deliver_since: DeliverSince::Beginning,
            timeout: Duration::from_secs(30),
            concurrency: 1,
            rate_limit: None,
            // Nothing is given up for a slip of the pen.
            expire_after: None,
            backlog_max_bytes: None,
            reject_limit: u32::MAX,
            redact: None,
            observe: false,
            discard: false,
            renamed_from: None,
            tls: TlsPlan::default(),
            proxy: None,
            fingerprint: String::new(),
        }
    }
}

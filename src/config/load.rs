//! From files and environment to a plan, or to every problem at once.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::build::{self, Context};
use super::include;
use super::layers::{self, Variable};
use super::origins::Origins;
use super::plan::Plan;
use super::problem::{Place, Problem, Problems};
use super::raw::Raw;
use super::schema;
use super::secrets::References;
use super::walk::{self, Inputs};
use super::watch::Watched;
use super::yaml::{self, Content, Mark, Node};
use crate::telemetry::settings::Settings;

/// Where a configuration is looked for when nobody says where it is.
pub const DEFAULT_PATH: &str = "/etc/audit-relay/config.yaml";
/// The variable that says where it is.
pub const PATH_VARIABLE: &str = "AUDIT_RELAY_CONFIG";

/// What to load, and how strictly. `Debug` is missing on purpose: the environment holds secrets.
#[derive(Clone)]
pub struct LoadOptions {
    /// The file; without it `AUDIT_RELAY_CONFIG`, then `/etc/audit-relay/config.yaml`.
    pub config: Option<PathBuf>,
    /// The environment variables.
    pub environment: Vec<(String, String)>,
    /// What to do with references.
    pub references: References,
    /// Whether secrets may stand in the file itself.
    pub allow_inline_secrets: bool,
}

impl LoadOptions {
    /// For this process: its environment, references resolved, no secrets in place.
    #[must_use]
    pub fn from_process(config: Option<PathBuf>) -> Self {
        let text = |text: std::ffi::OsString| text.into_string().ok();
        Self {
            config,
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
                .collect(),
            references: References::Resolve,
            allow_inline_secrets: false,
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        let variable =
            self.environment.iter().find(|(name, value)| name == PATH_VARIABLE && !value.is_empty());
        self.config
            .clone()
            .or_else(|| variable.map(|(_, path)| path.into()))
            .unwrap_or_else(|| DEFAULT_PATH.into())
    }
}

/// A configuration that is right, and what is worth saying about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it means.
    pub plan: Plan,
    /// What is allowed and perhaps not meant, and destinations that cannot start.
    pub warnings: Vec<Problem>,
    /// What is accepted and worth a word.
    pub notes: Vec<Problem>,
    /// Samples that do not go where they must. They stop nothing but `check`.
    pub failed_tests: Vec<Problem>,
    /// How many samples there are.
    pub tests: usize,
    /// The files that were read: the configuration, then what it includes.
    pub files: Vec<PathBuf>,
    /// The files that references name.
    pub secret_files: Vec<PathBuf>,
    /// SHA-256 over the configuration's files, one after another: of a single file, what `sha256sum` says.
    pub sha256: [u8; 32],
    /// What it depends on: all of these files, those of certificates too.
    pub watched: Watched,
}

/// Loads the configuration; the error holds every problem, in the order of files and lines.
///
/// # Errors
///
/// Whatever is wrong with it.
pub fn load(options: &LoadOptions) -> Result<Loaded, Problems> {
    load_noting(options, &mut Watched::default())
}

/// As [`load`]. Notes what it depends on where it is wrong, too, as far as it is known then.
///
/// # Errors
///
/// Whatever is wrong with it.
pub fn load_noting(options: &LoadOptions, noted: &mut Watched) -> Result<Loaded, Problems> {
    let path = options.path();
    noted.files.insert(path.clone());
    let text = include::read(&path).map_err(|why| {
        let mut problem = Problems::file(&path, &why);
        if options.config.is_none() && why == include::NO_SUCH_FILE {
            problem.expected = Some(format!("a configuration here, by `--config` or by `{PATH_VARIABLE}`"));
        }
        Problems(vec![problem])
    })?;
    load_text(&text, path, options, noted)
}

/// Loads a configuration from its text, as if it had been read from `path`; notes what it depends on beside that.
///
/// # Errors
///
/// Whatever is wrong with it.
pub(crate) fn load_text(
    text: &str,
    path: PathBuf,
    options: &LoadOptions,
    noted: &mut Watched,
) -> Result<Loaded, Problems> {
    let mut files = vec![path];
    let mut problems = Vec::new();
    let Some(mut root) = yaml::parse(text, 0, &mut problems) else {
        return Err(Problems::settled(problems, &files));
    };
    if root.is_null() {
        root = Node::map_at(root.mark);
    }
    if !matches!(root.content, Content::Map(_)) {
        problems.push(Problem::at(
            root.mark,
            "",
            "the configuration is not a map",
            Some("keys such as `sources:`"),
        ));
        return Err(Problems::settled(problems, &files));
    }
    let variables = layers::variables(&options.environment);
    let mut digest = Sha256::new();
    include::add(&mut digest, text);
    let patterns = included(&root, &variables);
    include::include(&patterns, &mut root, &mut files, &mut digest, &mut problems);
    let directory = files.first().and_then(|path| path.parent()).unwrap_or_else(|| Path::new(""));
    let globs = patterns.iter().map(|(pattern, _)| directory.join(pattern).to_string_lossy().into_owned());
    noted.globs.extend(globs);
    noted.files.extend(files.iter().cloned());

    let schema = schema::base();
    let merged = layers::merge(&schema, &root, &variables);
    let inputs = Inputs {
        schema: &schema,
        merged: &merged,
        variables: &variables,
        environment: &options.environment,
        references: options.references,
        allow_inline_secrets: options.allow_inline_secrets,
    };
    let (value, mut found) = walk::walk(&inputs, &root);
    noted.files.extend(found.secret_files.iter().cloned());
    problems.append(&mut found.problems);
    if options.references == References::Require {
        problems.append(&mut found.missing);
    }
    // The walk let through only what the types can hold. Its text is not shown: it could be a secret.
    let raw: Raw = match serde_json::from_value(value) {
        Ok(raw) => raw,
        Err(_) => {
            if problems.is_empty() {
                problems.push(Problem::whole("", "cannot be read, and this program cannot say why", None));
            }
            return Err(Problems::settled(problems, &files));
        }
    };
    let origins = Origins { file: &root, variables: &variables };
    let context = Context {
        origins: &origins,
        blocked: &found.blocked,
        blocked_sources: &found.blocked_sources,
        flipt_is_blocked: found.flipt_is_blocked,
        telemetry_is_blocked: found.telemetry_is_blocked,
        references: options.references,
    };
    let mut built = build::build(&raw, &context);
    noted.files.extend(built.plan.destinations.values().flat_map(|destination| destination.tls.files()));
    noted.files.extend(built.plan.telemetry.tls.files());
    problems.append(&mut built.problems);
    if !problems.is_empty() {
        return Err(Problems::settled(problems, &files));
    }
    built.warnings.append(&mut found.missing);
    if options.references != References::Ignore {
        telemetry(&built.plan, options, &origins, &mut built.warnings, noted);
    }
    Ok(Loaded {
        plan: built.plan,
        warnings: Problems::settled(built.warnings, &files).0,
        notes: Problems::settled(built.notes, &files).0,
        failed_tests: Problems::settled(built.failed_tests, &files).0,
        tests: raw.tests.len(),
        files,
        secret_files: found.secret_files,
        sha256: digest.finalize().into(),
        watched: noted.clone(),
    })
}

/// Where the journal of a configuration is that is not right: as far as its text tells, for those who look
/// whether a relay runs there.
#[must_use]
pub fn data_dir(options: &LoadOptions) -> Option<PathBuf> {
    let is_data_dir = |variable: &&Variable| variable.path == "data_dir";
    let variables = layers::variables(&options.environment);
    if let Some(variable) = variables.iter().rev().find(is_data_dir) {
        return Some(PathBuf::from(&variable.text));
    }
    let text = include::read(&options.path()).ok()?;
    if let Some(root) = yaml::parse(&text, 0, &mut Vec::new()) {
        return match &root.child("data_dir")?.content {
            Content::Text(path) => Some(PathBuf::from(path)),
            _ => None,
        };
    }
    let written = text.lines().find_map(|line| line.strip_prefix("data_dir:"))?;
    let written = written.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    (!written.is_empty()).then(|| PathBuf::from(written))
}

/// What the standard variables of OpenTelemetry add to a plan: what of them is not understood, and the certificates
/// that they name.
fn telemetry(
    plan: &Plan,
    options: &LoadOptions,
    origins: &Origins<'_>,
    warnings: &mut Vec<Problem>,
    watched: &mut Watched,
) {
    let variable = |name: &str| {
        let found = options.environment.iter().find(|(variable, _)| variable == name);
        found.map(|(_, text)| text.clone())
    };
    let (settings, remarks) = Settings::resolve(&plan.telemetry, &plan.name, &variable);
    warnings.extend(remarks.into_iter().map(|remark| match remark.about.starts_with("OTEL_") {
        true => Problem { place: Place::Variable(remark.about), ..Problem::whole("", &remark.message, None) },
        false => origins.problem(&remark.about, &remark.message, None),
    }));
    let signals = [&settings.traces, &settings.metrics].into_iter().flatten();
    watched.files.extend(signals.flat_map(|signal| signal.tls.files()));
}

/// What `include` says, as far as it can be understood before anything is merged.
fn included(root: &Node, variables: &[Variable]) -> Vec<(String, Option<Mark>)> {
    if let Some(variable) = variables.iter().rev().find(|variable| variable.path == "include") {
        return vec![(variable.text.clone(), None)];
    }
    let text = |node: &Node| match &node.content {
        Content::Text(text) if !text.trim().is_empty() => Some((text.clone(), Some(node.mark))),
        _ => None,
    };
    match root.child("include") {
        Some(Node { content: Content::List(items), .. }) => items.iter().filter_map(text).collect(),
        Some(node) => text(node).into_iter().collect(),
        None => Vec::new(),
    }
}

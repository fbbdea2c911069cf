//! Logs: text for people on a terminal, JSON otherwise, always on standard error.
//!
//! `ERROR` means data at risk or a person needed; `WARN` something that mends itself or waits for
//! attention; `INFO` what a person wants to have read the next day; `DEBUG` and `TRACE` are for somebody who
//! looks for something.
//!
//! No line holds anything of what events hold (names, values, actors), at any level, unless
//! `log.payloads` says so ([`payload`]); no line ever holds a secret. What repeats is told in numbers
//! ([`repeats`]). What libraries say shows only where a filter names them.

pub mod payload;
mod repeats;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use self::repeats::{Limited, Repeats};
use crate::config::plan::{LogFormat, LogPlan};

/// The target of all that the relay itself says; its modules are below.
const OWN: &str = "audit_relay";

/// What the started logging can be told.
struct Started {
    shown: reload::Handle<Targets, Registry>,
    repeats: Repeats,
}

static STARTED: OnceLock<Started> = OnceLock::new();

/// Whether lines may carry what events hold.
static PAYLOADS: AtomicBool = AtomicBool::new(false);

/// Starts logging. Does nothing where logging has been started already.
///
/// # Errors
/// When `level` cannot be read; the configuration is checked for that before.
pub fn init(plan: &LogPlan) -> Result<(), String> {
    let (targets, shown) = reload::Layer::new(targets(&plan.level)?);
    let is_terminal = std::io::stderr().is_terminal();
    let format = plan.format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json });
    let repeats = Repeats::new();
    let layer = lines(format, is_terminal, std::io::stderr);
    let layer = Limited::new(layer, repeats.clone()).with_filter(targets);
    if tracing_subscriber::registry().with(layer).try_init().is_ok() {
        PAYLOADS.store(plan.payloads, Ordering::Relaxed);
        let _ = STARTED.set(Started { shown, repeats });
    }
    Ok(())
}

/// Applies another plan from now on, as far as it can be: the format holds while the process runs.
///
/// # Errors
/// When `level` cannot be read; the configuration is checked for that before.
pub fn apply(plan: &LogPlan) -> Result<(), String> {
    let targets = targets(&plan.level)?;
    let Some(started) = STARTED.get() else { return Ok(()) };
    PAYLOADS.store(plan.payloads, Ordering::Relaxed);
    started.shown.reload(targets).map_err(|error| format!("log.level: {error}"))
}

/// Tells at once what repeated and was not shown. For the end of the process.
pub fn flush() {
    if let Some(started) = STARTED.get() {
        started.repeats.tell_all();
    }
}

/// Whether lines may carry what events hold (`log.payloads`). Cheap enough to be asked for every event.
#[must_use]
pub fn payloads() -> bool {
    PAYLOADS.load(Ordering::Relaxed)
}

/// What writes the lines.
fn lines<S, W>(format: LogFormat, is_colored: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => layer.with_ansi(is_colored).with_target(false).boxed(),
        // The fields of a line stand beside its `message`: `trace_id`, too.
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// What `log.level` lets through. A level alone is meant for the relay's own modules: what libraries say
/// shows only where a filter names them.
fn targets(level: &str) -> Result<Targets, String> {
    let asked: Targets = level.parse().map_err(|error| format!("log.level: {error}"))?;
    let own = asked.default_level().unwrap_or(LevelFilter::OFF);
    let named: Vec<_> = asked.iter().collect();
    // What was not shown is told at its own level, wherever that shows.
    let most = named.iter().map(|(_, level)| *level).chain([own]).max().unwrap_or(own);
    Ok(Targets::new().with_target(OWN, own).with_target(repeats::TARGET, most).with_targets(named))
}

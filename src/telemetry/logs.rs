//! Logs: text for people on a terminal, JSON otherwise, always on standard error.
//!
//! `ERROR` means data at risk or a person needed; `WARN` something that mends itself or waits for
//! attention; `INFO` what a person wants to have read the next day.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::plan::{LogFormat, LogPlan};

/// What the started logging shows; set once.
static SHOWN: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging. Does nothing where logging has been started already.
///
/// # Errors
/// When `level` cannot be read; the configuration is checked for that before.
pub fn init(plan: &LogPlan) -> Result<(), String> {
    let (targets, handle) = reload::Layer::new(targets(plan)?);
    let is_terminal = std::io::stderr().is_terminal();
    let format = plan.format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json });
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Text => layer.with_ansi(is_terminal).with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    if tracing_subscriber::registry().with(layer.with_filter(targets)).try_init().is_ok() {
        let _ = SHOWN.set(handle);
    }
    Ok(())
}

/// Shows another level from now on. The format holds while the process runs.
///
/// # Errors
/// When `level` cannot be read; the configuration is checked for that before.
pub fn set_level(plan: &LogPlan) -> Result<(), String> {
    let targets = targets(plan)?;
    match SHOWN.get() {
        Some(handle) => handle.reload(targets).map_err(|error| format!("log.level: {error}")),
        None => Ok(()),
    }
}

fn targets(plan: &LogPlan) -> Result<Targets, String> {
    plan.level.parse().map_err(|error| format!("log.level: {error}"))
}

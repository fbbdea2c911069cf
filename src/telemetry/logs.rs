//! Logs: text for people on a terminal, JSON otherwise, always on standard error.
//!
//! `ERROR` means data at risk or a person needed; `WARN` something that mends itself or waits for
//! attention; `INFO` what a person wants to have read the next day.

use std::io::IsTerminal;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::plan::{LogFormat, LogPlan};

/// Starts logging. Does nothing where logging has been started already.
///
/// # Errors
/// When `level` cannot be read; the configuration is checked for that before.
pub fn init(plan: &LogPlan) -> Result<(), String> {
    let targets: Targets = plan.level.parse().map_err(|error| format!("log.level: {error}"))?;
    let is_terminal = std::io::stderr().is_terminal();
    let format = plan.format.unwrap_or(if is_terminal { LogFormat::Text } else { LogFormat::Json });
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match format {
        LogFormat::Text => layer.with_ansi(is_terminal).with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(targets)).try_init();
    Ok(())
}

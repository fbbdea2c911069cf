//! `audit-relay send-test`: one clearly marked event to one destination, and what comes back.

use std::process::ExitCode;

use clap::Args;

use super::desk::Failure;
use super::{ConfigArgs, EXIT_FAILURE, print};
use crate::admin::{self, Trial};
use crate::config::plan::LogPlan;
use crate::telemetry::logs;

/// What `send-test` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct SendTestArgs {
    /// The destination; its secrets must be there
    destination: String,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &SendTestArgs) -> ExitCode {
    match send(args) {
        Ok(code) => code,
        Err(failure) => failure.tell(),
    }
}

fn send(args: &SendTestArgs) -> Result<ExitCode, Failure> {
    let plan = match args.config.load() {
        Ok(loaded) => loaded.plan,
        Err(code) => return Ok(code),
    };
    let quiet = LogPlan { level: "warn".to_owned(), format: plan.log.format };
    logs::init(&quiet).map_err(|error| Failure::usage(error.to_string()))?;
    let runtime = super::runtime().map_err(|error| Failure::failed(error.to_string()))?;
    let trial = runtime.block_on(admin::send_test(&plan, &args.destination))?;
    runtime.shutdown_background();
    print(&text(&trial, &args.destination));
    Ok(if trial.is_delivered { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

fn text(trial: &Trial, destination: &str) -> String {
    let mut text = match &trial.to {
        Some(to) => format!("{} to {destination}: {to}\n", trial.id),
        None => String::new(),
    };
    for line in &trial.answer {
        text.push_str(&format!("  {line}\n"));
    }
    text + &trial.meaning + "\n"
}

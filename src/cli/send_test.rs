//! `audit-relay send-test`: one clearly marked event to one destination, or through a running relay to all of them, and
//! what comes of it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::desk::Failure;
use super::{ConfigArgs, EXIT_FAILURE, print};
use crate::admin::{self, Passage, Through, Trial};
use crate::config::plan::{LogPlan, Plan};
use crate::telemetry::logs;

/// What `send-test` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct SendTestArgs {
    /// The destination, whose secrets must be there; sent to directly, whether or not a relay runs
    #[arg(required_unless_present = "through", conflicts_with = "through")]
    destination: Option<String>,
    /// Push it into this http source of a running relay instead, as Flipt would, and wait until every destination has
    /// settled it
    #[arg(long, value_name = "SOURCE")]
    through: Option<String>,
    /// The address of that source [default: where it listens]
    #[arg(long, requires = "through")]
    url: Option<String>,
    /// The address of the relay's health listener [default: where it listens]
    #[arg(long, value_name = "URL", requires = "through")]
    health: Option<String>,
    /// PEM file of the authorities to trust at these addresses [default: the system's]
    #[arg(long, value_name = "FILE", requires = "through")]
    ca: Option<PathBuf>,
    /// How long the destinations may take
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration, requires = "through")]
    timeout: Duration,
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
    let quiet = LogPlan { level: "warn".to_owned(), ..plan.log.clone() };
    logs::init(&quiet).map_err(|error| Failure::usage(error.to_string()))?;
    let runtime = super::runtime().map_err(|error| Failure::failed(error.to_string()))?;
    let (told, is_well) = runtime.block_on(carry_out(args, &plan))?;
    runtime.shutdown_background();
    print(&told);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// What to tell, and whether all is well.
async fn carry_out(args: &SendTestArgs, plan: &Plan) -> Result<(String, bool), Failure> {
    if let Some(destination) = &args.destination {
        let trial = admin::send_test(plan, destination).await?;
        return Ok((text(&trial, destination), trial.is_delivered));
    }
    let through = Through {
        source: args.through.clone().unwrap_or_default(),
        url: args.url.clone(),
        health: args.health.clone(),
        ca: args.ca.clone(),
        timeout: args.timeout,
    };
    let passage = admin::send_through(plan, &through).await?;
    Ok((told(&passage, &through.source), passage.is_well()))
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

fn told(passage: &Passage, source: &str) -> String {
    let mut text = format!("{} by {source}: accepted\n", passage.id);
    for (destination, fate) in &passage.destinations {
        text.push_str(&format!("  {destination}: {fate}\n"));
    }
    if passage.destinations.is_empty() {
        text.push_str("there is no destination: it is kept, and goes nowhere\n");
    }
    text
}

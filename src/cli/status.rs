//! `audit-relay status`: how everything stands.

use std::process::ExitCode;

use clap::Args;

use super::desk::{Failure, at_desk};
use super::{ConfigArgs, print, print_json};
use crate::admin::{Answer, Command};

/// What `status` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &StatusArgs) -> ExitCode {
    at_desk(&args.config, async |desk| {
        let Answer::Status(report) = desk.ask(Command::Status).await? else {
            return Err(Failure::mixed_up());
        };
        match args.json {
            true => print_json(&report),
            false => print(&report.to_string()),
        }
        Ok(ExitCode::SUCCESS)
    })
}

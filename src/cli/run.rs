//! `audit-relay run`: the main job.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

use super::service::Service;
use super::{ConfigArgs, EXIT_FAILURE};
use crate::telemetry::logs;

/// What `run` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Never end for the configuration, its secrets or the journal: for a relay in Flipt's own pod
    #[arg(long)]
    sidecar: bool,
}

pub(super) fn run(args: &RunArgs) -> ExitCode {
    let begun = Instant::now();
    super::raise_descriptor_limit();
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    let serving = async { Service::new(args.config.options(), args.sidecar, begun).run().await };
    let ended = runtime.block_on(serving);
    // Whatever still blocks (a terminal that nobody reads) does not keep the process.
    runtime.shutdown_background();
    logs::flush();
    ended.unwrap_or_else(|code| code)
}

//! `audit-relay backup`: a copy of the journal, whether or not a relay runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::desk::{Failure, at_desk};
use super::{ConfigArgs, print};
use crate::admin::words;
use crate::admin::{Answer, Command};

/// What `backup` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct BackupArgs {
    /// Where to; nothing may be there. A running relay writes it, so it is a path as the relay sees it
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &BackupArgs) -> ExitCode {
    at_desk(&args.config, async |desk| {
        let file = std::path::absolute(&args.file).map_err(|error| Failure::usage(error.to_string()))?;
        let command = Command::Backup { file: file.clone() };
        let Answer::BackedUp { bytes } = desk.ask(command).await? else { return Err(Failure::mixed_up()) };
        print(&format!("{} holds the journal as it is now, {}\n", file.display(), words::bytes(bytes)));
        Ok(ExitCode::SUCCESS)
    })
}

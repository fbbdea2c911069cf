//! `audit-relay pause` and `audit-relay resume`: a person's decision about a destination.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::desk::{Failure, at_desk};
use super::{ConfigArgs, print};
use crate::admin::words::moment;
use crate::admin::{Answer, Command};
use crate::event::Timestamp;

/// What `pause` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct PauseArgs {
    /// The destination that is sent nothing; what is routed to it waits
    destination: String,
    /// For how long, such as `2h`; until it is resumed without
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    length: Option<Duration>,
    /// Why: kept with the record of this act
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `resume` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ResumeArgs {
    /// The destination that is paused, blocked or waiting: it is tried at once
    destination: String,
    /// Why: kept with the record of this act
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

fn length(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(length) if length.as_secs() > 0 => Ok(length),
        _ => Err("expected a length of time such as `30min`, `2h` or `7d`".to_owned()),
    }
}

pub(super) fn pause(args: &PauseArgs) -> ExitCode {
    at_desk(&args.config, async |desk| {
        let command = Command::Pause {
            destination: args.destination.clone(),
            for_seconds: args.length.map(|length| length.as_secs()),
            reason: args.reason.clone(),
        };
        let Answer::Paused { until } = desk.ask(command).await? else { return Err(Failure::mixed_up()) };
        let until = until.map(|until| format!("until {}", moment(until, Timestamp::now())));
        let until = until.unwrap_or_else(|| "until it is resumed".to_owned());
        print(&format!("{} is paused {until}; what is routed to it waits\n", args.destination));
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn resume(args: &ResumeArgs) -> ExitCode {
    at_desk(&args.config, async |desk| {
        let command = Command::Resume { destination: args.destination.clone(), reason: args.reason.clone() };
        let Answer::Resumed { was } = desk.ask(command).await? else { return Err(Failure::mixed_up()) };
        let when =
            if desk.is_running() { "it is tried at once" } else { "it is tried when the relay starts" };
        print(&format!("{} was {was}; {when}\n", args.destination));
        Ok(ExitCode::SUCCESS)
    })
}

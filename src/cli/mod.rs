//! The command line: one file for each subcommand.
//!
//! Exit codes: 0 done; 1 failed at run time; 2 wrong usage or configuration.

pub mod check;
mod import;
mod run;
pub mod schema;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{LoadOptions, Loaded, load};

/// Failed at run time.
const EXIT_FAILURE: u8 = 1;
/// Wrong usage or configuration.
const EXIT_USAGE: u8 = 2;

/// Carries each audit event of a Flipt server to where people look, and loses none on the way.
#[derive(Debug, Parser)]
#[command(name = "audit-relay", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Relay: follow the sources, keep every event, deliver by the routes.
    Run(run::RunArgs),
    /// Look a configuration over and tell every problem at once.
    Check(check::CheckArgs),
    /// Print the JSON Schema of the configuration.
    Schema(schema::SchemaArgs),
    /// Take in one file to its end, as if a source had tailed it.
    Import(import::ImportArgs),
}

/// Where the configuration is, and what it may hold.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The configuration file [default: $AUDIT_RELAY_CONFIG, else /etc/audit-relay/config.yaml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Accept secrets that stand in the configuration itself
    #[arg(long)]
    allow_inline_secrets: bool,
}

impl ConfigArgs {
    /// Loads the configuration, or prints every problem with it.
    fn load(&self) -> Result<Loaded, ExitCode> {
        let options = LoadOptions {
            allow_inline_secrets: self.allow_inline_secrets,
            ..LoadOptions::from_process(self.config.clone())
        };
        load(&options).map_err(|problems| {
            eprintln!("{problems}");
            ExitCode::from(EXIT_USAGE)
        })
    }
}

/// Carries out what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Import(args) => import::run(&args),
    }
}

/// A thread that panics is a fault of this program, and half a relay is worse than one that is started anew:
/// what is accepted is on disk.
fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a fault of this program, please report it; ending, to be started anew");
        std::process::exit(i32::from(EXIT_FAILURE));
    }));
}

/// Every followed file is a descriptor: as many as the system allows.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// A single-threaded runtime: sources and journal have their own threads, lanes mostly wait.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

//! The command line: one file for each subcommand.
//!
//! Exit codes: 0 done; 1 failed at run time; 2 wrong usage or configuration.

mod backup;
mod changes;
pub mod check;
mod dead_letters;
mod desk;
mod doctor;
mod edits;
mod explain;
mod import;
mod migrate;
mod pause;
mod replay;
mod run;
pub mod schema;
mod send_test;
mod service;
mod signals;
mod status;
mod verify;

use std::io::Write as _;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::admin::words;
use crate::config::plan::Plan;
use crate::config::{LoadOptions, Loaded, Problems, References, load};

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
    /// Tell how everything stands: sources, journal, destinations and their books.
    Status(status::StatusArgs),
    /// Tell what changed, and who did it.
    Changes(changes::ChangesArgs),
    /// Tell why events go where they go, and what exactly would go out; sends nothing.
    Explain(explain::ExplainArgs),
    /// Send one clearly marked event to a destination, and tell what came back.
    SendTest(send_test::SendTestArgs),
    /// Ask Flipt what keeps its events from coming, or makes them poorer.
    Doctor(doctor::DoctorArgs),
    /// Print the configuration for a Flipt that used its own webhook sink.
    Migrate(migrate::MigrateArgs),
    /// List, show or purge what a destination would not take.
    #[command(alias = "dlq")]
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Send records to a destination once more.
    Replay(replay::ReplayArgs),
    /// Send nothing to a destination for now.
    Pause(pause::PauseArgs),
    /// Send to a destination again, at once, whatever it answered before.
    Resume(pause::ResumeArgs),
    /// Tell whether a journal, a backup or an export still is what was accepted.
    Verify(verify::VerifyArgs),
    /// Copy the journal to a file.
    Backup(backup::BackupArgs),
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
    fn options(&self) -> LoadOptions {
        LoadOptions {
            allow_inline_secrets: self.allow_inline_secrets,
            ..LoadOptions::from_process(self.config.clone())
        }
    }

    /// Loads the configuration, or prints every problem with it.
    fn load(&self) -> Result<Loaded, ExitCode> {
        load(&self.options()).map_err(|problems| {
            eprintln!("{problems}");
            ExitCode::from(EXIT_USAGE)
        })
    }

    /// What the configuration means with all of its secrets, for those who send nothing: some may be missing,
    /// or stand in place.
    fn resolved(&self) -> Result<Plan, ExitCode> {
        Self { allow_inline_secrets: true, ..self.clone() }.load().map(|loaded| loaded.plan)
    }

    /// What the configuration means, for those who deliver nothing: secrets may be missing, or stand in
    /// place.
    fn plan(&self) -> Result<Plan, Problems> {
        let options =
            LoadOptions { allow_inline_secrets: true, ..LoadOptions::from_process(self.config.clone()) };
        let problems = match load(&options) {
            Ok(loaded) => return Ok(loaded.plan),
            Err(problems) => problems,
        };
        // Where the journal is must be known, and not be guessed.
        if !problems.0.iter().any(|problem| problem.key == "data_dir")
            && let Ok(loaded) = load(&LoadOptions { references: References::Ignore, ..options })
        {
            return Ok(loaded.plan);
        }
        Err(problems)
    }
}

/// Prints to standard output. Whoever closed the pipe has seen enough.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints JSON that a terminal may have.
fn print_json(value: &impl serde::Serialize) {
    if let Ok(json) = serde_json::to_string_pretty(value) {
        let lines: Vec<String> = json.lines().map(words::escaped).collect();
        print(&(lines.join("\n") + "\n"));
    }
}

/// Carries out what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Status(args) => status::run(&args),
        Command::Changes(args) => changes::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::SendTest(args) => send_test::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::DeadLetters(args) => dead_letters::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Backup(args) => backup::run(&args),
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

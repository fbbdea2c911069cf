//! Where operators' commands are put: to the relay that runs, or to the journal of one that does not.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{ConfigArgs, EXIT_FAILURE, EXIT_USAGE};
use crate::admin::{self, Answer, CallError, Command, Fault, Office, Refusal};
use crate::config::data_dir;
use crate::config::plan::{LogPlan, Plan};
use crate::journal::OpenError;
use crate::relay::{RelayError, open_journal};
use crate::telemetry::logs;

/// How long a relay that is just starting, or ending, may neither listen nor let go of its journal.
const IN_BETWEEN: Duration = Duration::from_secs(3);

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, message: message.into() }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { code: EXIT_FAILURE, message: message.into() }
    }

    /// Prints it, and gives the exit code.
    pub(super) fn tell(&self) -> ExitCode {
        eprintln!("{}", self.message);
        ExitCode::from(self.code)
    }

    /// Something that was answered is not what was asked for.
    pub(super) fn mixed_up() -> Self {
        Self::failed("the answer is none to what was asked")
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal.fault {
            Fault::Usage => Self::usage(refusal.message),
            Fault::Failure => Self::failed(refusal.message),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::failed(error.to_string())
    }
}

/// Takes commands.
pub(super) struct Desk {
    data_dir: PathBuf,
    /// The name of whoever asks, as the environment has it.
    by: Option<String>,
    /// The office of a relay that does not run.
    own: Option<Office>,
}

impl Desk {
    /// Whether a relay runs.
    pub(super) fn is_running(&self) -> bool {
        self.own.is_none()
    }

    /// Has a command carried out.
    pub(super) async fn ask(&self, command: Command) -> Result<Answer, Failure> {
        Ok(match &self.own {
            Some(office) => admin::carry_out(command, &self.signature(), office).await?,
            None => admin::call(&self.data_dir, self.by.as_deref(), &command).await??,
        })
    }

    fn signature(&self) -> String {
        admin::signature(self.by.as_deref(), own_uid())
    }

    /// Finds the relay that runs on a data directory.
    async fn of_running(data_dir: PathBuf) -> Result<Option<Self>, Failure> {
        match admin::listens(&data_dir).await {
            Ok(()) => Ok(Some(Self { data_dir, by: own_name(), own: None })),
            Err(CallError::NobodyListens) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds the relay that runs, or opens the journal of one that does not.
    async fn open(plan: Plan) -> Result<Self, Failure> {
        let by = own_name();
        let plan = Arc::new(plan);
        let mut desk = Self { data_dir: plan.data_dir.clone(), by, own: None };
        let begun = tokio::time::Instant::now();
        loop {
            if listens(&plan).await? {
                return Ok(desk);
            }
            match open_office(&plan).await {
                Err(held) if held.is_held && begun.elapsed() < IN_BETWEEN => {}
                Err(other) => return Err(other.failure),
                Ok(office) => {
                    desk.own = Some(office);
                    return Ok(desk);
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn close(self) -> Result<(), Failure> {
        let Some(office) = self.own else { return Ok(()) };
        let closed = tokio::task::spawn_blocking(move || office.close()).await;
        let closed = closed.map_err(|error| Failure::failed(error.to_string()))?;
        closed.map_err(|error| Failure::failed(error.to_string()))
    }
}

/// Whether a relay listens on the data directory of a plan.
pub(super) async fn listens(plan: &Plan) -> Result<bool, Failure> {
    match admin::listens(&plan.data_dir).await {
        Ok(()) => Ok(true),
        Err(CallError::NobodyListens) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

struct NoOffice {
    /// Whether another process holds the journal.
    is_held: bool,
    failure: Failure,
}

impl From<Failure> for NoOffice {
    fn from(failure: Failure) -> Self {
        Self { is_held: false, failure }
    }
}

async fn open_office(plan: &Arc<Plan>) -> Result<Office, NoOffice> {
    let data_dir = plan.data_dir.display();
    let owner = match plan.data_dir.join("journal.db").metadata() {
        Ok(found) => found.uid(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let message =
                format!("there is no journal in {data_dir}: no relay ever ran with this configuration");
            return Err(Failure::failed(message).into());
        }
        Err(error) => return Err(Failure::failed(format!("cannot look into {data_dir}: {error}")).into()),
    };
    // Files of another owner in the data directory would keep the relay from its own journal.
    if owner != own_uid() {
        let message = format!(
            "the journal in {data_dir} belongs to uid {owner}, and this is uid {}: run the command as the \
             user that the relay runs as",
            own_uid()
        );
        return Err(Failure::failed(message).into());
    }
    match open_journal(plan, Duration::ZERO).await {
        Ok(journal) => Ok(Office::stopped(Arc::clone(plan), journal)),
        Err(RelayError::Open(OpenError::Locked { holder, .. })) => Err(NoOffice {
            is_held: true,
            failure: Failure::failed(format!(
                "{data_dir} is in use by {holder}, which does not listen on its control socket: it is \
                 starting or ending, or could not make the socket (its log says why)"
            )),
        }),
        Err(error) => Err(Failure::failed(error.to_string()).into()),
    }
}

fn own_name() -> Option<String> {
    ["LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens a desk by the configuration, does `work` at it, and says what went wrong.
pub(super) fn at_desk(
    config: &ConfigArgs,
    work: impl AsyncFnOnce(&Desk) -> Result<ExitCode, Failure>,
) -> ExitCode {
    let plan = config.plan();
    // What goes well in opening the journal of a stopped relay is of no interest here.
    let format = plan.as_ref().ok().and_then(|plan| plan.log.format);
    let quiet = LogPlan { level: "warn".to_owned(), format, payloads: false };
    if let Err(error) = logs::init(&quiet) {
        eprintln!("{error}");
        return ExitCode::from(EXIT_USAGE);
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    let done = runtime.block_on(async {
        let desk = match plan {
            Ok(plan) => Desk::open(plan).await?,
            Err(problems) => {
                eprintln!("{problems}");
                // A relay may run all the same, with what was right before.
                let running = match data_dir(&config.options()) {
                    Some(data_dir) => Desk::of_running(data_dir).await?,
                    None => None,
                };
                match running {
                    Some(desk) => desk,
                    None => return Ok(ExitCode::from(EXIT_USAGE)),
                }
            }
        };
        let done = work(&desk).await;
        let closed = desk.close().await;
        done.and_then(|code| closed.map(|()| code))
    });
    runtime.shutdown_background();
    done.unwrap_or_else(|failure: Failure| failure.tell())
}

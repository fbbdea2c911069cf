//! The control socket: a running relay opens its office to the command line of the same user.
//!
//! One request a connection, one line of JSON each way. Whoever connects is known by its uid, which the
//! kernel tells; nobody can hold a connection for long, ask for much, or do harm by going away.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Answer, Command, ExplainAsked, Office, Refusal, carry_out, words};

/// The socket's name in the data directory.
const NAME: &str = "control.sock";

/// The form of requests and answers. A command line of another form is refused rather than misunderstood.
pub(super) const PROTOCOL: u32 = 1;

/// A request is no longer than this, in bytes.
pub(super) const MAX_REQUEST_BYTES: u64 = 1 << 20;

/// Connections that are served at the same time; more wait.
const MAX_CONNECTIONS: usize = 16;

/// How long a client may take to say what it wants.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a client may take to read the answer.
const READING: Duration = Duration::from_secs(30);

/// How long a shutdown waits for what is being carried out.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a socket's address can hold (unix(7)), in bytes, its final zero left out.
const MAX_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// What comes in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request<C> {
    /// See [`PROTOCOL`].
    pub(super) protocol: u32,
    /// The login name of whoever asks, as its environment has it.
    #[serde(default)]
    pub(super) by: Option<String>,
    /// What is asked.
    pub(super) command: C,
}

/// What goes out.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Response {
    /// See [`PROTOCOL`].
    pub(super) protocol: u32,
    /// What was done, or why nothing was.
    pub(super) result: Result<Answer, Refusal>,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Something else stands in its place.
    #[error("{} is there and is no socket", .0.display())]
    Occupied(PathBuf),
    /// It could not be made.
    #[error("{}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The open control socket of a running relay.
pub struct Control {
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Control {
    /// Opens the office to the command line. To be called while the journal's lock on `data_dir` is held:
    /// a socket that stands there is then one of a process that has ended, and is replaced.
    ///
    /// # Errors
    /// When the socket cannot be made; a relay works without it.
    pub fn start(office: Arc<Office>, data_dir: &Path) -> Result<Self, ControlError> {
        Self::start_patiently(office, data_dir, SILENCE)
    }

    fn start_patiently(
        office: Arc<Office>,
        data_dir: &Path,
        silence: Duration,
    ) -> Result<Self, ControlError> {
        let path = data_dir.join(NAME);
        let listener = listen(data_dir, &path)?;
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, office, stop.clone(), path, silence));
        Ok(Self { stop, serving })
    }

    /// Removes the socket, and ends once what is being carried out is done, or soon. To be called before
    /// the journal is closed.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.serving.await;
    }
}

fn listen(data_dir: &Path, path: &Path) -> Result<UnixListener, ControlError> {
    let failed = |error| ControlError::Io { path: path.to_owned(), error };
    match path.symlink_metadata() {
        Ok(found) if !found.file_type().is_socket() => return Err(ControlError::Occupied(path.to_owned())),
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let address = Address::of(data_dir).map_err(failed)?;
    let socket = UnixSocket::new_stream().map_err(failed)?;
    // On Linux the file takes the mode of the socket: nobody else can connect, not even for a moment.
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let _ = rustix::fs::fchmod(&socket, mode);
    socket.bind(&address.path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    socket.listen(u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX)).map_err(failed)
}

/// The address of the socket of a data directory; a path that is too long for one leads through the open
/// directory.
pub(super) struct Address {
    pub(super) path: PathBuf,
    _directory: Option<std::fs::File>,
}

impl Address {
    pub(super) fn of(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(NAME);
        if path.as_os_str().len() <= MAX_PATH_BYTES {
            return Ok(Self { path, _directory: None });
        }
        if !cfg!(target_os = "linux") {
            return Err(io::Error::other("the path is too long for a socket"));
        }
        let directory = std::fs::File::open(data_dir)?;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&directory);
        Ok(Self { path: format!("/proc/self/fd/{descriptor}/{NAME}").into(), _directory: Some(directory) })
    }
}

async fn serve(
    listener: UnixListener,
    office: Arc<Office>,
    stop: CancellationToken,
    path: PathBuf,
    silence: Duration,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut calls = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(next(&listener, &places)).await {
        match accepted {
            Ok((stream, place)) => {
                let office = Arc::clone(&office);
                calls.spawn(async move {
                    attend(stream, &office, silence).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while calls.try_join_next().is_some() {}
    }
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::debug!(%error, "the control socket was gone already");
    }
    drop(listener);
    let all = async { while calls.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, all).await;
}

async fn next(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> io::Result<(UnixStream, Option<tokio::sync::OwnedSemaphorePermit>)> {
    let place = Arc::clone(places).acquire_owned().await.ok();
    Ok((listener.accept().await?.0, place))
}

/// Serves one connection. That the client has gone away is no news to anybody.
async fn attend(mut stream: UnixStream, office: &Office, silence: Duration) {
    let caller = stream.peer_cred().map(|peer| peer.uid());
    let (reader, mut writer) = stream.split();
    let Ok(line) = tokio::time::timeout(silence, read_line(reader)).await else { return };
    let result = match (caller, line) {
        (_, Ok(line)) if line.is_empty() => return,
        (Err(error), _) => Err(Refusal::failure(format!("the relay cannot tell who asks: {error}"))),
        (Ok(uid), _) if uid != own_uid() => Err(stranger(uid)),
        (_, Err(error)) => Err(Refusal::failure(format!("the request cannot be read: {error}"))),
        (Ok(uid), Ok(line)) => understand_and_do(&line, uid, office).await,
    };
    let response = Response { protocol: PROTOCOL, result };
    let Ok(mut line) = serde_json::to_vec(&response) else { return };
    line.push(b'\n');
    let answered = async {
        writer.write_all(&line).await?;
        writer.shutdown().await
    };
    let _ = tokio::time::timeout(READING, answered).await;
}

fn stranger(uid: u32) -> Refusal {
    Refusal::failure(format!(
        "the relay runs as uid {} and listens to that user alone, not to uid {uid}: run the command as the \
         same user, in a container by `kubectl exec`",
        own_uid()
    ))
}

async fn read_line(reader: impl tokio::io::AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(reader).take(MAX_REQUEST_BYTES + 1).read_until(b'\n', &mut line).await?;
    if line.len() as u64 > MAX_REQUEST_BYTES {
        return Err(io::Error::other(format!("it is longer than {MAX_REQUEST_BYTES} bytes")));
    }
    Ok(line)
}

async fn understand_and_do(line: &[u8], uid: u32, office: &Office) -> Result<Answer, Refusal> {
    let unclear =
        |error: serde_json::Error| Refusal::usage(format!("the request is not understood: {error}"));
    // What another form holds is not looked at.
    let request: Request<serde_json::Value> = serde_json::from_slice(line).map_err(unclear)?;
    if request.protocol != PROTOCOL {
        return Err(Refusal::failure(other_protocol(request.protocol, PROTOCOL)));
    }
    let command: Command = serde_json::from_value(request.command).map_err(unclear)?;
    let by = signature(request.by.as_deref(), uid);
    if is_news(&command) {
        tracing::info!(by, command = name(&command), "an operator asks");
    }
    carry_out(command, &by, office).await
}

/// Whether the log should tell of it: what is asked again and again it tells once.
fn is_news(command: &Command) -> bool {
    match command {
        Command::Status | Command::ReplayProgress { .. } | Command::Explain(ExplainAsked::After(..)) => false,
        Command::Changes(asked) => asked.place.through.is_none(),
        _ => true,
    }
}

/// What both sides say where they do not speak the same form.
pub(super) fn other_protocol(command_line: u32, relay: u32) -> String {
    format!(
        "the command line speaks form {command_line} of the control protocol and the running relay form \
         {relay}: use the command line of the release that runs"
    )
}

/// Whoever asks, as it is kept: the name is a claim, the uid is not.
#[must_use]
pub fn signature(name: Option<&str>, uid: u32) -> String {
    match name.map(|name| words::brief(name, 80)).filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

/// The uid of this process.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Status => "status",
        Command::DeadLetters { .. } | Command::DeadLetter { .. } => "dead letters",
        Command::Changes(_) => "changes",
        Command::Explain(_) => "explain",
        Command::Purge { .. } => "purge",
        Command::Replay { .. } => "replay",
        Command::ReplayProgress { .. } => "progress of a replay",
        Command::Pause { .. } => "pause",
        Command::Resume { .. } => "resume",
        Command::Backup { .. } => "backup",
        Command::Import { .. } => "import",
    }
}

#[cfg(test)]
mod tests;

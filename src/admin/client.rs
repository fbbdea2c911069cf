//! The other end of the control socket.

use std::io;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::control::{Address, MAX_REQUEST_BYTES, PROTOCOL, Request, Response, other_protocol};
use super::{Answer, Command, Refusal};

/// An answer is no longer than this, in bytes: one record of 4 MiB, escaped, and some more.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No relay listens on this data directory.
    #[error("no relay listens")]
    NobodyListens,
    /// The socket is another user's.
    #[error(
        "the control socket of the relay is another user's: run the command as the user that the relay runs as"
    )]
    Forbidden,
    /// See the message.
    #[error("{0}")]
    Broken(String),
}

/// Asks the relay that runs on `data_dir`. What is asked may take as long as it takes.
///
/// # Errors
/// When there is no answer at all; an answer may be a refusal.
pub async fn call(
    data_dir: &Path,
    by: Option<&str>,
    command: &Command,
) -> Result<Result<Answer, Refusal>, CallError> {
    let request = Request { protocol: PROTOCOL, by: by.map(str::to_owned), command };
    let mut line = serde_json::to_vec(&request)
        .map_err(|error| CallError::Broken(format!("this cannot be asked: {error}")))?;
    line.push(b'\n');
    if line.len() as u64 > MAX_REQUEST_BYTES {
        return Err(CallError::Broken("this is too much to ask at once".to_owned()));
    }
    let mut stream = connect(data_dir).await?;
    // A relay that refuses may do so before it has read everything: what it says is to be read in any case.
    let sent = stream.write_all(&line).await;
    let mut answer = Vec::new();
    let read = (&mut stream).take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await;
    if answer.is_empty() {
        return Err(match sent.and(read.map(drop)) {
            Ok(()) => CallError::Broken("the relay ended before it answered".to_owned()),
            Err(error) => CallError::Broken(format!("the relay does not answer: {error}")),
        });
    }
    understand(&answer)
}

/// Whether a relay listens on `data_dir`.
///
/// # Errors
/// When none does, or it cannot be reached.
pub async fn listens(data_dir: &Path) -> Result<(), CallError> {
    connect(data_dir).await.map(drop)
}

async fn connect(data_dir: &Path) -> Result<UnixStream, CallError> {
    let judge = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            CallError::NobodyListens
        }
        io::ErrorKind::PermissionDenied => CallError::Forbidden,
        _ => CallError::Broken(format!("the control socket cannot be reached: {error}")),
    };
    let address = Address::of(data_dir).map_err(judge)?;
    UnixStream::connect(&address.path).await.map_err(judge)
}

fn understand(answer: &[u8]) -> Result<Result<Answer, Refusal>, CallError> {
    #[derive(serde::Deserialize)]
    struct Form {
        protocol: u32,
    }
    let broken = |error: serde_json::Error| {
        CallError::Broken(format!("the answer of the relay is not understood: {error}"))
    };
    let form: Form = serde_json::from_slice(answer).map_err(broken)?;
    match serde_json::from_slice::<Response>(answer) {
        Ok(response) => Ok(response.result),
        Err(_) if form.protocol != PROTOCOL => {
            Err(CallError::Broken(other_protocol(PROTOCOL, form.protocol)))
        }
        Err(error) => Err(broken(error)),
    }
}

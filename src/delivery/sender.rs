//! The one sender: carries out what destinations ask for. No redirect is followed, no more than 64 KiB of
//! an answer is read (of what was asked for: as much as the asker allows), and no error tells a URL.

mod fetch;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::io::AsyncWriteExt;

use crate::client;
use crate::config::plan::TlsPlan;
use crate::config::secret::Secret;
use crate::destination::{HttpRequest, Request, Response};

pub use fetch::Fetched;

/// How much of an answer is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Why a request was not answered. Its text holds no URL and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The network, the receiver or the disk failed: try again.
    #[error("{message}")]
    Failed {
        /// What happened.
        message: String,
        /// The same in one word: see [`SendError::kind`].
        kind: &'static str,
    },
    /// The receiver's certificate is not trusted, or ours not by the receiver: this speaks of the endpoint.
    #[error("{0}")]
    Untrusted(String),
    /// The request cannot be made at all: trying again is of no use.
    #[error("the request cannot be made: {0}")]
    Impossible(String),
}

impl SendError {
    fn on_disk(message: String) -> Self {
        Self::Failed { message, kind: "write_failed" }
    }

    /// What went wrong between here and the receiver.
    fn on_the_way(error: reqwest::Error) -> Self {
        let kind = match () {
            () if error.is_timeout() => "timeout",
            () if error.is_connect() => "connect_failed",
            () => "connection_broken",
        };
        Self::Failed { message: client::describe(error), kind }
    }

    /// What went wrong, in one of few words: `timeout`, `connect_failed`, `connection_broken`, `write_failed`,
    /// `untrusted`, `impossible`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Failed { kind, .. } => kind,
            Self::Untrusted(_) => "untrusted",
            Self::Impossible(_) => "impossible",
        }
    }
}

/// Sends requests. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Sender {
    client: reqwest::Client,
}

impl Sender {
    /// A sender with its own connections, which trusts whom `tls` says and goes through `proxy`: see
    /// [`client::build`].
    ///
    /// # Errors
    /// What cannot be used: the key of the configuration, the file, and why; no secret.
    pub fn new(tls: &TlsPlan, proxy: Option<&Secret>) -> Result<Self, String> {
        Ok(Self { client: client::build(tls, proxy)? })
    }

    /// A sender that trusts the system's authorities.
    #[cfg(test)]
    fn plain() -> Result<Self, SendError> {
        Self::new(&TlsPlan::default(), None).map_err(SendError::Impossible)
    }

    /// Carries out one request within `timeout`.
    ///
    /// # Errors
    /// When nothing came back.
    pub async fn send(&self, request: Request, timeout: Duration) -> Result<Response, SendError> {
        match request {
            Request::Http(request) => self.send_http(request, timeout).await,
            Request::Stdout(bytes) => {
                let mut stdout = tokio::io::stdout();
                let written = async {
                    stdout.write_all(&bytes).await?;
                    stdout.flush().await
                };
                match written.await {
                    Ok(()) => Ok(Response::Written),
                    Err(error) => Err(SendError::on_disk(format!("standard output: {error}"))),
                }
            }
            Request::AppendFile { path, bytes } => {
                tokio::task::spawn_blocking(move || append_durably(&path, &bytes))
                    .await
                    .map_err(|error| SendError::on_disk(error.to_string()))?
                    .map(|()| Response::Written)
                    .map_err(|error| SendError::on_disk(format!("the file cannot be written: {error}")))
            }
        }
    }

    async fn send_http(&self, request: HttpRequest, timeout: Duration) -> Result<Response, SendError> {
        let mut headers = HeaderMap::with_capacity(request.headers.len());
        for (name, value) in &request.headers {
            let unfit =
                || SendError::Impossible(format!("the header {name} has a value that is not allowed"));
            let header = HeaderName::try_from(name.as_str()).map_err(|_| unfit())?;
            let mut value = HeaderValue::try_from(value.expose()).map_err(|_| unfit())?;
            value.set_sensitive(true);
            headers.append(header, value);
        }
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|_| SendError::Impossible(format!("{} is no HTTP method", request.method)))?;
        let mut response = self
            .client
            .request(method, request.url.expose())
            .headers(headers)
            .timeout(timeout)
            .body(request.body)
            .send()
            .await
            .map_err(failure)?;
        let status = response.status().as_u16();
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let (retry_after, rate_limit_reset) = (header(RETRY_AFTER.as_str()), header("x-ratelimit-reset"));
        let mut body = Vec::new();
        // The status is the answer; a body that breaks off changes nothing, nor does one that goes on for
        // ever: the timeout counts for all of it.
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = MAX_ANSWER_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == MAX_ANSWER_BYTES {
                break;
            }
        }
        Ok(Response::Http { status, retry_after, rate_limit_reset, body })
    }
}

fn failure(error: reqwest::Error) -> SendError {
    if error.is_builder() {
        return SendError::Impossible(client::describe(error));
    }
    match client::distrust(&error) {
        Some(why) => SendError::Untrusted(why),
        None => SendError::on_the_way(error),
    }
}

/// Appends whole lines to a file and returns once they are on disk. A line that an earlier crash left
/// unfinished is ended first, so that it spoils only itself.
pub(super) fn append_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let is_new = !path.exists();
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    file.write_all(bytes)?;
    file.sync_data()?;
    if is_new {
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tls_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_spoils_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/2026-11-22.ndjson");
        append_durably(&path, b"{\"a\":1}\n").unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"b\":").unwrap();
        append_durably(&path, b"{\"b\":2}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"a\":1}\n{\"b\":\n{\"b\":2}\n");
    }

    #[tokio::test]
    async fn errors_tell_no_url() {
        let sender = Sender::plain().unwrap();
        for url in ["http://127.0.0.1:1/secret-path?token=s3cr3t", "http://user:s3cr3t@", "secret-path"] {
            let request = Request::Http(HttpRequest {
                url: std::sync::Arc::new(Secret::new(url)),
                method: "POST",
                headers: Vec::new(),
                body: Vec::new(),
                propagates: false,
            });
            let error = sender.send(request, Duration::from_secs(5)).await.unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cr3t") && !shown.contains("secret-path"), "{shown}");
        }
    }
}

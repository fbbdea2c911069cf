//! OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>): one request at a time.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use reqwest::{StatusCode, Url};

use crate::client::{build, describe, distrust};
use crate::config::secret::Secret;
use crate::telemetry::settings::Signal;

/// What is read of an answer, at most; more than that is no answer by OTLP.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 10;

/// How the relay calls itself.
pub(super) const AGENT: &str = concat!("audit-relay/", env!("CARGO_PKG_VERSION"));

/// Sends to one address. A request is bounded by the signal's timeout, an answer by [`MAX_ANSWER_BYTES`]; no error
/// tells the address or a header. It works on a tokio runtime only.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    address: Url,
    headers: HeaderMap,
    timeout: Duration,
    problem: Problem,
}

/// What a collector answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    retry_after: Option<HeaderValue>,
    /// Empty where it is longer than it may be.
    pub(super) body: Bytes,
}

/// What went wrong last, if anything. Its clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Problem(Arc<Mutex<Option<String>>>);

impl Problem {
    fn set(&self, problem: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// Gives it, and forgets it.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Client {
    /// Of a signal.
    ///
    /// # Errors
    /// What of it cannot be used, without secrets.
    pub(super) fn new(signal: &Signal) -> Result<Self, String> {
        let mut headers = headers(&signal.headers)?;
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.remove(CONTENT_ENCODING);
        Ok(Self {
            http: build(&signal.tls, None)?,
            address: address(signal)?,
            headers,
            timeout: signal.timeout,
            problem: Problem::default(),
        })
    }

    /// What went wrong in the last request.
    pub(super) fn problem(&self) -> Problem {
        self.problem.clone()
    }

    /// Where to, as a URL.
    pub(super) fn address(&self) -> &str {
        self.address.as_str()
    }

    /// Sends a body of protobuf.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn post(&self, body: Bytes, encoding: Option<HeaderValue>) -> Result<Answer, String> {
        let mut request = self.http.post(self.address.clone()).timeout(self.timeout);
        request = request.headers(self.headers.clone());
        if let Some(encoding) = encoding {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        let failed = |error: reqwest::Error| distrust(&error).unwrap_or_else(|| describe(error));
        let mut response = request.body(body).send().await.map_err(failed)?;
        let (status, mut body) = (response.status(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                body.clear();
                break;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, retry_after: response.headers().get(RETRY_AFTER).cloned(), body: body.into() })
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Of what the exporter sets, only this says something about the body: its headers are read from the
        // environment once more, and decoded twice.
        let encoding = request.headers().get(CONTENT_ENCODING).cloned();
        let answered = self.post(request.into_body(), encoding).await;
        self.problem.set(match &answered {
            Ok(answer) => refusal(answer.status),
            Err(error) => Some(error.clone()),
        });
        let answer = answered?;
        let mut response = Response::builder().status(answer.status);
        if let Some(retry_after) = answer.retry_after {
            response = response.header(RETRY_AFTER, retry_after);
        }
        Ok(response.body(answer.body)?)
    }
}

/// What a status says, where it is none of success.
pub(super) fn refusal(status: StatusCode) -> Option<String> {
    (!status.is_success()).then(|| format!("the collector answers {status}"))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.answer(request))
    }
}

/// The address of a signal.
///
/// # Errors
/// When it is none; it is not told.
pub(super) fn address(signal: &Signal) -> Result<Url, String> {
    let address = Url::parse(signal.endpoint.expose()).ok();
    let address = address.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    address.ok_or_else(|| "the endpoint is not an address like http://127.0.0.1:4318".to_owned())
}

/// Headers as they are sent, or metadata of gRPC; none of the values shows in what is logged of a request.
///
/// # Errors
/// Which one cannot be sent; its value is not told.
pub(super) fn headers(all: &[(String, Secret)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        let unusable = |what: &str| format!("the header `{}` has {what}", name.escape_default());
        let key = HeaderName::try_from(name).map_err(|_| unusable("no name that can be sent"))?;
        let value = HeaderValue::from_str(value.expose());
        let mut value = value.map_err(|_| unusable("a value that cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    Ok(headers)
}

//! Questions: requests whose answer is what they are for.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};

use super::{SendError, Sender, failure};
use crate::config::secret::Secret;
use crate::destination::webhook;

/// What came back.
#[derive(Debug)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// The header `Date`.
    pub date: Option<String>,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The body; `None` where it is longer than may be.
    pub body: Option<Vec<u8>>,
}

impl Sender {
    /// Gets what is at `url`, within `timeout` and at most `limit` bytes of it.
    ///
    /// # Errors
    /// When nothing came back, or not all of it.
    pub async fn fetch(
        &self,
        url: &url::Url,
        bearer: Option<&Secret>,
        timeout: Duration,
        limit: usize,
    ) -> Result<Fetched, SendError> {
        let mut request = self.client.get(url.as_str()).timeout(timeout);
        request = request.header(USER_AGENT, webhook::USER_AGENT).header("accept", "application/json");
        if let Some(token) = bearer {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| {
                SendError::Impossible("the token holds a character that is not allowed".to_owned())
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let mut response = request.send().await.map_err(failure)?;
        let text = |headers: &HeaderMap, name: HeaderName| {
            headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let mut fetched = Fetched {
            status: response.status().as_u16(),
            date: text(response.headers(), DATE),
            retry_after: text(response.headers(), RETRY_AFTER),
            body: None,
        };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(SendError::on_the_way)? {
            if body.len() + chunk.len() > limit {
                return Ok(fetched);
            }
            body.extend_from_slice(&chunk);
        }
        fetched.body = Some(body);
        Ok(fetched)
    }
}

//! Asks Flipt's REST API, page by page, as gently as can be.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::Instant;
use url::Url;

use super::Patience;
use crate::config::plan::{FliptPlan, RetryPlan, TlsPlan};
use crate::config::secret::{Secret, address};
use crate::delivery::{Fetched, SendError, Sender, retry_delay};
use crate::destination::retry_after::retry_after;
use crate::event::Timestamp;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Things on one page: the most that every Flipt gives.
const PAGE: &str = "100";
/// Pages of one list. With full pages it is far beyond all else that bounds a namespace.
const MAX_PAGES: usize = 1_000;
/// No request begins sooner after another one.
const PACE: Duration = Duration::from_millis(20);
/// Both the `Date` of an answer and the times of events are whole seconds, cut off.
const CUT_OFF: Duration = Duration::from_secs(1);

/// Why something was not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// Flipt was asked again and again, and did not answer.
    #[error("{0}")]
    Silent(String),
    /// Who asks may not know.
    #[error("it answers {0}")]
    Denied(u16),
    /// There is no such thing.
    #[error("it answers 404")]
    Missing,
    /// What answers does not answer as Flipt v1 does.
    #[error("{0}")]
    Foreign(String),
}

/// What a list holds; its items were handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    /// When it was read, by Flipt's clock: events that are dated later came after it.
    pub(super) at: Timestamp,
    /// Whether all of it was read: none was unreadable or left out, none came or went meanwhile.
    pub(super) is_whole: bool,
}

/// A page of any list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow, default, alias = "namespaces", alias = "flags", alias = "segments", alias = "rollouts")]
    rules: Option<Vec<&'a RawValue>>,
    next_page_token: Option<String>,
    #[serde(default, borrow)]
    total_count: Option<&'a RawValue>,
}

impl Page<'_> {
    /// A number, or one written as a string.
    fn total(&self) -> Option<usize> {
        self.total_count.and_then(|total| total.get().trim_matches('"').parse().ok())
    }
}

struct Answer {
    body: Vec<u8>,
    at: Timestamp,
}

/// Flipt's API. Not to be shown: its address may hold a password.
pub(super) struct Api {
    sender: Sender,
    base: Url,
    token: Option<Secret>,
    patience: Patience,
    /// When the next request may begin.
    turn: Mutex<Instant>,
}

impl Api {
    /// # Errors
    /// What is wrong with the plan; no secret.
    pub(super) fn new(plan: &FliptPlan, patience: Patience) -> Result<Self, String> {
        let mut base = Url::parse(plan.url.expose()).map_err(|error| format!("not an address: {error}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err("not an address of a web server".to_owned());
        }
        base.set_query(None);
        base.set_fragment(None);
        if plan.token.is_some() {
            // A request carries one credential.
            let _ = base.set_username("");
            let _ = base.set_password(None);
        }
        let sender = Sender::new(&TlsPlan::default(), None)?;
        let turn = Mutex::new(Instant::now());
        Ok(Self { sender, base, token: plan.token.clone(), patience, turn })
    }

    /// The address without what may be secret in it.
    pub(super) fn shown(&self) -> String {
        address(self.base.as_str())
    }

    /// One thing, and when it was read.
    pub(super) async fn one<T: DeserializeOwned>(&self, path: &[&str]) -> Result<(T, Timestamp), Trouble> {
        let answer = self.ask(self.url(path)?).await?;
        let thing = serde_json::from_slice(&answer.body).map_err(|_| unlike_flipt())?;
        Ok((thing, answer.at))
    }

    /// Hands each item of a list to `take`, until that wants no more.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        mut take: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<Listed, Trouble> {
        let mut listed: Option<Listed> = None;
        let (mut token, mut count) = (None, 0);
        for _ in 0..MAX_PAGES {
            let answer = self.ask(self.page_url(path, token.as_deref())?).await?;
            let page: Page<'_> = serde_json::from_slice(&answer.body).map_err(|_| unlike_flipt())?;
            let so_far = listed.get_or_insert(Listed { at: answer.at, is_whole: true });
            so_far.at = so_far.at.max(answer.at);
            for item in page.rules.iter().flatten() {
                count += 1;
                let flow = serde_json::from_str(item.get()).map(&mut take);
                so_far.is_whole &= matches!(flow, Ok(ControlFlow::Continue(())));
                if matches!(flow, Ok(ControlFlow::Break(()))) {
                    return Ok(*so_far);
                }
            }
            let next = page.next_page_token.as_ref().filter(|next| !next.is_empty());
            let Some(next) = next else {
                // Pages are counted off by position: what goes meanwhile makes another one be passed over.
                so_far.is_whole &= page.total().is_none_or(|total| total == count);
                return Ok(*so_far);
            };
            if token.as_ref() == Some(next) {
                return Err(unlike_flipt());
            }
            token = Some(next.clone());
        }
        Err(unlike_flipt())
    }

    fn url(&self, path: &[&str]) -> Result<Url, Trouble> {
        let mut url = self.base.clone();
        // Such keys would lead elsewhere; no Flipt allows them.
        let leads_elsewhere = path.iter().any(|part| matches!(*part, "" | "." | ".."));
        match url.path_segments_mut() {
            Ok(mut segments) if !leads_elsewhere => {
                segments.pop_if_empty().extend(["api", "v1"]).extend(path);
            }
            _ => return Err(Trouble::Missing),
        }
        Ok(url)
    }

    fn page_url(&self, path: &[&str], token: Option<&str>) -> Result<Url, Trouble> {
        let mut url = self.url(path)?;
        url.query_pairs_mut().append_pair("limit", PAGE);
        if let Some(token) = token {
            url.query_pairs_mut().append_pair("pageToken", token);
        }
        Ok(url)
    }

    /// Asks until there is an answer, or patience ends.
    async fn ask(&self, url: Url) -> Result<Answer, Trouble> {
        let first = Instant::now();
        for attempt in 1.. {
            self.wait_for_turn().await;

            let fetched = self.sender.fetch(&url, self.token.as_ref(), TIMEOUT, MAX_BODY_BYTES).await;
            let (why, asked) = match judge(fetched)? {
                Judged::Answer { body, date } => {
                    return Ok(Answer { body, at: read_at(date.as_deref(), Timestamp::now()) });
                }
                Judged::Later(why, asked) => (why, asked),
            };
            let wait = retry_delay(&self.patience.retry, attempt, asked);
            if first.elapsed() + wait > self.patience.longest {
                return Err(Trouble::Silent(why));
            }
            tracing::debug!(attempt, wait_ms = wait.as_millis(), "Flipt does not answer yet: {why}");
            tokio::time::sleep(wait).await;
        }
        Err(Trouble::Silent("it was asked too often".to_owned()))
    }

    async fn wait_for_turn(&self) {
        let turn = {
            let mut next = self.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + PACE;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

enum Judged {
    Answer {
        body: Vec<u8>,
        date: Option<String>,
    },
    /// Try again: why, and when where that was said.
    Later(String, Option<Duration>),
}

fn judge(fetched: Result<Fetched, SendError>) -> Result<Judged, Trouble> {
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(SendError::Failed { message: why, .. }) => return Ok(Judged::Later(why, None)),
        Err(error) => return Err(Trouble::Foreign(error.to_string())),
    };
    match fetched.status {
        200 => match fetched.body {
            Some(body) => Ok(Judged::Answer { body, date: fetched.date }),
            None => Err(Trouble::Foreign("an answer is longer than 16 MiB".to_owned())),
        },
        401 | 403 => Err(Trouble::Denied(fetched.status)),
        404 => Err(Trouble::Missing),
        408 | 425 | 429 | 500 | 502..=599 => {
            let asked = fetched.retry_after.and_then(|value| retry_after(&value, Timestamp::now()));
            Ok(Judged::Later(format!("it answers {}", fetched.status), asked))
        }
        300..=399 => Err(Trouble::Foreign(format!("it leads elsewhere ({})", fetched.status))),
        status => Err(Trouble::Foreign(format!("it answers {status}"))),
    }
}

fn unlike_flipt() -> Trouble {
    Trouble::Foreign("what answers does not answer as Flipt v1 does".to_owned())
}

/// When what an answer holds was read, at the latest: by its header `Date`, else by the clock here.
fn read_at(date: Option<&str>, local: Timestamp) -> Timestamp {
    let told = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let told = told.and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok());
    told.map_or(local, |told| Timestamp::from_unix_micros(0).plus(told)).plus(CUT_OFF)
}

/// How failed questions are repeated.
pub(super) const RETRY: RetryPlan =
    RetryPlan { initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(30) };

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn api(url: &str, token: Option<&str>) -> Result<Api, String> {
        let plan = FliptPlan {
            url: Arc::new(Secret::new(url)),
            token: token.map(Secret::new),
            external_url: None,
            instance: "flipt".to_owned(),
        };
        Api::new(&plan, Patience::default())
    }

    #[test]
    fn addresses_are_put_together_and_shown_without_secrets() {
        let api_at = |url| api(url, Some("t")).unwrap();
        let path = ["namespaces", "a/b", "flags", "100%?"];
        for base in ["http://flipt.example.com/x", "http://ann:secret@flipt.example.com/x/?key=secret#f"] {
            let url = api_at(base).page_url(&path, Some("e+Q=")).unwrap();
            assert_eq!(
                url.as_str(),
                "http://flipt.example.com/x/api/v1/namespaces/a%2Fb/flags/100%25%3F?limit=100&pageToken=e%2BQ%3D"
            );
        }
        let basic = api("https://ann:secret@flipt.example.com", None).unwrap();
        assert_eq!(basic.shown(), "https://flipt.example.com/");
        assert_eq!(
            api_at("https://flipt.example.com:8443/s3cret").shown(),
            "https://flipt.example.com:8443/…"
        );
        assert_eq!(basic.url(&["namespaces"]).unwrap().password(), Some("secret"));
        assert_eq!(basic.url(&["namespaces", ".."]), Err(Trouble::Missing));
        assert!(api("flipt:8080", None).is_err());
        assert!(api("ftp://flipt", None).is_err());
    }

    #[test]
    fn the_time_is_told_by_flipts_clock() {
        let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
        let local = at("2026-11-22T10:00:00.5Z");
        let date = Some("Sun, 22 Nov 2026 08:00:10 GMT");
        assert_eq!(read_at(date, local), at("2026-11-22T08:00:11Z"));
        for none in [None, Some("yesterday"), Some("Sun, 22 Nov 1066 08:00:10 GMT")] {
            assert_eq!(read_at(none, local), at("2026-11-22T10:00:01.5Z"));
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let fetched = |status| Fetched { status, date: None, retry_after: None, body: Some(Vec::new()) };
        for (status, later) in
            [(500, true), (503, true), (429, true), (501, false), (302, false), (400, false)]
        {
            assert_eq!(judge(Ok(fetched(status))).is_ok(), later, "{status}");
        }
        assert_eq!(judge(Ok(fetched(403))).err(), Some(Trouble::Denied(403)));
        assert_eq!(judge(Ok(fetched(404))).err(), Some(Trouble::Missing));
        assert!(judge(Ok(Fetched { body: None, ..fetched(200) })).is_err());
        assert!(judge(Err(SendError::Failed { message: "refused".into(), kind: "connect_failed" })).is_ok());
        assert!(judge(Err(SendError::Untrusted("not trusted".into()))).is_err());
        let asked = Fetched { retry_after: Some("7".into()), ..fetched(503) };
        assert!(matches!(judge(Ok(asked)), Ok(Judged::Later(_, Some(wait))) if wait.as_secs() == 7));
    }

    #[test]
    fn pages_are_read_as_any_release_writes_them() {
        let page = |json: &'static str| serde_json::from_str::<Page<'_>>(json).unwrap();
        let one = page(r#"{"flags":[{"key":"a"}],"nextPageToken":"x","totalCount":3}"#);
        assert_eq!((one.rules.as_ref().map(Vec::len), one.total()), (Some(1), Some(3)));
        let one = page(r#"{"rollouts":null,"totalCount":"3"}"#);
        assert_eq!((one.rules.is_none(), one.total()), (true, Some(3)));
        let one = page("{}");
        assert_eq!((one.rules.is_none(), one.total(), one.next_page_token), (true, None, None));
        assert!(serde_json::from_str::<Page<'_>>("[]").is_err());
        assert!(serde_json::from_str::<Page<'_>>(r#"{"flags":{}}"#).is_err());
    }
}

//! Asks a Flipt what it is and how it is configured.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::admin::Finding;
use crate::admin::words::brief;
use crate::config::plan::{FliptPlan, TlsPlan};
use crate::config::secret::{Secret, address};
use crate::delivery::{Fetched, SendError, Sender};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// What is asked, in this order.
pub(super) const INFO: &str = "/meta/info";
/// See [`INFO`].
pub(super) const CONFIG: &str = "/meta/config";
/// How much of an error is told.
const SHOWN: usize = 200;

/// What came of asking.
#[derive(Debug)]
pub(super) struct Asked {
    /// The answer to [`INFO`].
    pub(super) info: Option<Value>,
    /// The answer to [`CONFIG`].
    pub(super) config: Option<Value>,
    /// What could not be asked, and why; the first of it where all of it fails alike.
    pub(super) trouble: Option<Trouble>,
}

/// Why something was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing answers.
    Silent(String),
    /// It is not to be told to us.
    Refused { path: &'static str, status: u16, with_token: bool },
    /// Something answers that is no Flipt v1, or not only that.
    Foreign { path: &'static str, why: String },
    /// It cannot be asked at all.
    Unusable(String),
}

impl Asked {
    fn nothing(trouble: Trouble) -> Self {
        Self { info: None, config: None, trouble: Some(trouble) }
    }
}

/// Whom to ask. Not to be shown: its address may hold a password.
pub(super) struct Meta {
    sender: Sender,
    base: Url,
    token: Option<Secret>,
}

impl Meta {
    /// # Errors
    /// What is wrong with the plan; no secret.
    pub(super) fn new(plan: &FliptPlan) -> Result<Self, String> {
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
        Ok(Self { sender: Sender::new(&TlsPlan::default(), None)?, base, token: plan.token.clone() })
    }

    /// Asks once.
    pub(super) async fn ask(&self) -> Asked {
        let info = match self.get(INFO).await {
            Ok(info) => info,
            Err(trouble) => return Asked::nothing(trouble),
        };
        match self.get(CONFIG).await {
            Ok(config) => Asked { info: Some(info), config: Some(config), trouble: None },
            Err(trouble) => Asked { info: Some(info), config: None, trouble: Some(trouble) },
        }
    }

    async fn get(&self, path: &'static str) -> Result<Value, Trouble> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/').skip(1));
        }
        let fetched = self.sender.fetch(&url, self.token.as_ref(), TIMEOUT, MAX_BODY_BYTES).await;
        judge(path, fetched, self.token.is_some())
    }
}

fn judge(
    path: &'static str,
    fetched: Result<Fetched, SendError>,
    with_token: bool,
) -> Result<Value, Trouble> {
    let foreign = |why: &str| Trouble::Foreign { path, why: why.to_owned() };
    let fetched = match fetched {
        Ok(fetched) => fetched,
        Err(SendError::Failed { message: why, .. } | SendError::Untrusted(why)) => {
            return Err(Trouble::Silent(brief(&why, SHOWN)));
        }
        Err(SendError::Impossible(why)) => return Err(Trouble::Unusable(brief(&why, SHOWN))),
    };
    match (fetched.status, fetched.body) {
        (200, Some(body)) => match serde_json::from_slice::<Value>(&body) {
            Ok(value) if value.is_object() => Ok(value),
            _ => Err(foreign("the answer is not what Flipt says there")),
        },
        (200, None) => Err(foreign("the answer is too long for Flipt's")),
        (401 | 403, _) => Err(Trouble::Refused { path, status: fetched.status, with_token }),
        (429 | 500 | 502..=599, _) => Err(Trouble::Silent(format!("it answers {}", fetched.status))),
        (status, _) => Err(foreign(&format!("it answers {status}"))),
    }
}

/// What a trouble means for people. `shown` is the address without what may be secret.
pub(super) fn finding(trouble: &Trouble, shown: &str) -> Finding {
    let (code, sentence, remedy) = match trouble {
        Trouble::Silent(why) => (
            "flipt_unreachable",
            format!("Flipt at {shown} cannot be reached: {why}."),
            "flipt: {url: http://127.0.0.1:8080}   # an address that answers from where the relay runs"
                .to_owned(),
        ),
        Trouble::Refused { path, status, with_token: false } => (
            "flipt_refuses",
            format!("Flipt at {shown} answers {status} to {path}: it tells only those who sign in."),
            "flipt: {token: {file: /etc/audit-relay/secrets/flipt-token}}   # a static token of that Flipt"
                .to_owned(),
        ),
        Trouble::Refused { path, status, with_token: true } => (
            "flipt_refuses",
            format!("Flipt at {shown} answers {status} to {path}: it does not accept the token."),
            "flipt: {token: {file: /etc/audit-relay/secrets/flipt-token}}   # a token that is valid, for all namespaces"
                .to_owned(),
        ),
        Trouble::Foreign { path, why } => (
            "flipt_unlike",
            format!("What is at {shown} does not answer to {path} as Flipt v1 does: {why}."),
            "flipt: {url: http://127.0.0.1:8080}   # the address of Flipt itself, without /api/v1".to_owned(),
        ),
        Trouble::Unusable(why) => (
            "flipt_url_unusable",
            format!("Flipt cannot be asked: {why}."),
            "flipt: {url: http://127.0.0.1:8080}".to_owned(),
        ),
    };
    Finding { code: code.to_owned(), severe: false, sentence, remedy: Some(remedy) }
}

/// The address of a plan, as anybody may see it.
pub(super) fn shown(plan: &FliptPlan) -> String {
    address(plan.url.expose())
}

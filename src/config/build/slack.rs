//! Slack: an incoming webhook, or a bot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::messages::{group_wait, is_in_the_clear};
use super::{Judge, webhook};
use crate::config::plan::{DestinationKind, DestinationPlan, SlackAccess, SlackPlan, Surroundings};
use crate::config::raw::common::{SecretText, UrlText};
use crate::config::raw::destination::Slack;
use crate::config::secret::Secret;

/// Refused attempts wait for others of their kind up to so long.
const HELD_BACK: Duration = Duration::from_secs(3_600);

/// Slack's own Web API.
const WEB_API: &str = "https://slack.com/api/";

/// Where Slack's webhooks are.
const HOOKS: &str = "hooks.slack.com";

/// How Slack's tokens begin that may post: of bots, of people, and those that expire
/// (<https://docs.slack.dev/authentication/tokens>).
const TOKENS: [&str; 3] = ["xoxb-", "xoxp-", "xoxe."];

pub(super) fn slack(
    path: &str,
    slack: &Slack,
    around: &Surroundings,
    judge: &mut Judge<'_>,
) -> Result<DestinationKind, String> {
    without_effect(path, judge);
    let group_wait = group_wait(path, &slack.common, HELD_BACK, judge);
    let access = access(path, slack, judge).ok_or("neither a webhook nor a bot")?;
    sendable(path, &access, judge)?;
    remarks(path, &access, judge);
    Ok(DestinationKind::Slack(Box::new(SlackPlan { access, group_wait, around: around.clone() })))
}

/// Whether a request can carry the secret; the error says why none can be sent.
fn sendable(path: &str, access: &SlackAccess, judge: &mut Judge<'_>) -> Result<(), String> {
    let (key, secret, why) = match access {
        SlackAccess::Webhook(url) => ("webhook_url", url.expose(), "characters that no address has"),
        SlackAccess::Bot { token, .. } => ("token", token.expose(), "characters that no token has"),
    };
    match secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(webhook::unfit(path, key, why, "printable ASCII without spaces, in one line", judge)),
    }
}

/// What Slack's rules decide, whatever is written.
fn without_effect(path: &str, judge: &mut Judge<'_>) {
    for (key, why) in [
        ("batch", "`group_wait` says how long a message waits for company"),
        ("concurrency", "a channel gets one message after the other"),
    ] {
        let path = format!("{path}.{key}");
        if judge.is_written(&path) {
            judge.warn(&path, &format!("no effect on a `slack` destination: {why}"));
        }
    }
}

fn access(path: &str, slack: &Slack, judge: &mut Judge<'_>) -> Option<SlackAccess> {
    let has = |key: &str, judge: &Judge<'_>| judge.is_written(&format!("{path}.{key}"));
    let (webhook, token, channel) = (has("webhook_url", judge), has("token", judge), has("channel", judge));
    let expected = Some("either `webhook_url`, or `token` and `channel`");
    match (webhook, token, channel) {
        (true, false, false) | (false, true, true) => {}
        (true, ..) => judge.problem(path, "`webhook_url` beside `token` or `channel`", expected),
        (false, true, false) => judge.problem(path, "`channel` is missing", expected),
        (false, false, true) => judge.problem(path, "`token` is missing", expected),
        (false, false, false) => judge.problem(path, "`webhook_url` is missing", expected),
    }
    if webhook && !token && has("endpoint", judge) {
        let message = "the address of the Web API, which only a bot uses";
        judge.problem(&format!("{path}.endpoint"), message, Some("`token` and `channel`, or no such key"));
    }
    let is_blank = |channel: &String| channel.trim_start_matches('#').trim().is_empty();
    let is_odd = slack.channel.as_ref().is_some_and(|channel| {
        is_blank(channel)
            || channel.contains(|character: char| character.is_whitespace() || character.is_control())
    });
    if is_odd {
        let expected = Some("a name such as `#flag-changes`, or an id such as `C0123456789`");
        judge.problem(&format!("{path}.channel"), "no channel is called so", expected);
    }
    // What is not there stands behind a reference that was not to be looked up, or its problem is told already.
    let value =
        |secret: &Option<SecretText>| secret.as_ref().map_or_else(|| Secret::new(""), |text| text.0.clone());
    if webhook {
        return Some(SlackAccess::Webhook(Arc::new(value(&slack.webhook_url))));
    }
    let endpoint = slack.endpoint.as_ref().map_or(WEB_API, |UrlText(url)| url.expose());
    (token && channel).then(|| SlackAccess::Bot {
        token: value(&slack.token),
        channel: slack.channel.clone().unwrap_or_default(),
        endpoint: Arc::new(Secret::new(format!("{}/", endpoint.trim_end_matches('/')))),
    })
}

/// What may be meant, and is probably not.
fn remarks(path: &str, access: &SlackAccess, judge: &mut Judge<'_>) {
    match access {
        SlackAccess::Webhook(url) => {
            if in_the_clear(url.expose()) {
                let message =
                    "not encrypted: whoever sees the address can post; Slack's begin with `https://`";
                judge.warn(&format!("{path}.webhook_url"), message);
            }
            if let Some(message) = no_webhook(url.expose()) {
                judge.warn(&format!("{path}.webhook_url"), message);
            }
        }
        SlackAccess::Bot { token, channel, endpoint } => {
            if in_the_clear(endpoint.expose()) {
                let message = "not encrypted: whoever sees the token can post";
                judge.warn(&format!("{path}.endpoint"), message);
            }
            if names_method(endpoint.expose()) {
                let message = "ends in a method: the relay adds `chat.postMessage` itself";
                judge.problem(&format!("{path}.endpoint"), message, Some("such as `https://slack.com/api/`"));
            }
            let token = token.expose();
            if !token.is_empty() && !TOKENS.iter().any(|start| token.starts_with(start)) {
                let message = "does not look like a token of a bot, which begins with `xoxb-`";
                judge.warn(&format!("{path}.token"), message);
            }
            if is_person(channel) {
                let message = "looks like a person: the bot would write to them alone, not to a channel";
                judge.warn(&format!("{path}.channel"), message);
            }
        }
    }
}

/// Why an address of Slack's is none of a webhook.
fn no_webhook(url: &str) -> Option<&'static str> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?;
    let path = url.path().trim_matches('/');
    let is_api =
        host == "slack.com" || host == "slack-gov.com" || host.ends_with(".slack.com") && host != HOOKS;
    match () {
        () if is_api && (path == "api" || path.starts_with("api/")) => {
            Some("the address of the Web API, not of a webhook: for a bot, write `token` and `channel`")
        }
        () if host == HOOKS && path.is_empty() => {
            Some("no webhook: the address of one goes on, such as `https://hooks.slack.com/services/…`")
        }
        () => None,
    }
}

/// Whether an address of the Web API ends in one of its methods, such as `chat.postMessage`.
fn names_method(endpoint: &str) -> bool {
    let Ok(url) = Url::parse(endpoint) else { return false };
    let last = url.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    last.contains('.') && last.split('.').all(is_word)
}

fn in_the_clear(address: &str) -> bool {
    Url::parse(address).is_ok_and(|url| is_in_the_clear(&url))
}

/// `@ann`, or the id of a member (`U…`, `W…`).
fn is_person(channel: &str) -> bool {
    let is_id = |rest: &str| {
        rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    channel.starts_with('@') || channel.strip_prefix(['U', 'W']).is_some_and(is_id)
}

/// Slack's limit is one for each channel: two destinations of one channel get into each other's way.
pub(super) fn twins(plans: &BTreeMap<String, DestinationPlan>, judge: &mut Judge<'_>) {
    let mut seen: Vec<(&str, String)> = Vec::new();
    for (name, plan) in plans.iter().filter(|(_, plan)| !plan.observe && !plan.discard) {
        let Ok(DestinationKind::Slack(slack)) = &plan.kind else { continue };
        let place = match &slack.access {
            SlackAccess::Webhook(url) if !url.expose().is_empty() => url.expose().to_owned(),
            SlackAccess::Bot { token, channel, endpoint } if !token.expose().is_empty() => {
                let channel = channel.trim_start_matches('#').to_lowercase();
                format!("{} {} {channel}", endpoint.expose(), token.expose())
            }
            // Not looked up.
            _ => continue,
        };
        match seen.iter().find(|(_, other)| *other == place) {
            Some((twin, _)) => {
                let message = format!(
                    "the same channel as that of `{twin}`: Slack's limit of one message a second holds for both; \
                     one destination that several routes name never tells twice"
                );
                judge.warn(&format!("destinations.{name}"), &message);
            }
            None => seen.push((name, place)),
        }
    }
}

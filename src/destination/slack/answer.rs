//! What Slack's answers mean: by their word first, whatever status carries it.
//!
//! Incoming webhooks answer in plain text, `ok` alone means success
//! (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>); the Web API answers 200 with
//! `"ok": false` and an `error` (<https://docs.slack.dev/reference/methods/chat.postMessage>).

use serde::Deserialize;

use crate::destination::retry_after::retry_after;
use crate::destination::verdict::verdict;
use crate::destination::{Message, Outcome, Reason, Response};
use crate::event::Timestamp;
use crate::event::text::one_line;

/// The engine takes it for a limit of all requests.
const LIMIT: &str = "http_429";
/// Words of Slack's that are not known are shown up to here.
const WORD: usize = 80;

/// What a word of Slack speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Too many messages.
    Limit,
    /// This moment, at Slack's.
    Moment,
    /// This message.
    Payload,
    /// The token, or what its app may do.
    Auth,
    /// The webhook: its address.
    Webhook,
    /// The channel, or who may write to it.
    Channel,
}

impl About {
    /// The word for machines.
    const fn code(self) -> &'static str {
        match self {
            Self::Limit => LIMIT,
            Self::Moment => "slack_unavailable",
            Self::Payload => "slack_payload",
            Self::Auth => "slack_auth",
            Self::Webhook => "slack_webhook",
            Self::Channel => "slack_channel",
        }
    }

    /// What to do where nothing better is known.
    const fn advice(self) -> &'static str {
        match self {
            Self::Limit => "too many messages",
            Self::Moment => "trouble at Slack's",
            Self::Payload => "Slack does not take this message",
            Self::Auth => {
                "check the token, and that its app is installed and allowed to write (`chat:write`)"
            }
            Self::Webhook => "the webhook is gone or switched off: make a new one, and configure its address",
            Self::Channel => "check the channel, and who may post to it",
        }
    }
}

const NO_TOKEN: &str = "the token is wrong or revoked: reinstall the app, and configure its bot token";
const NOT_ALLOWED: &str = "an administrator restricts what this app may do: ask one";
const NO_SCOPE: &str = "the app lacks the scope `chat:write`: add it, and reinstall the app";
const NO_CHANNEL: &str = "there is no such channel, or the bot does not see it: check `channel`, and invite the bot where it is private";
const ARCHIVED: &str = "the channel is archived: un-archive it, or configure another one";
const RESTRICTED: &str = "a setting of the workspace or channel keeps apps from posting here: change it, or configure another channel";
const NOT_IN: &str =
    "the bot is not in the channel: invite it, or give the app the scope `chat:write.public`";

/// What Slack says, what that speaks of, and what to do where that is known.
#[rustfmt::skip]
const WORDS: [(&str, About, Option<&str>); 77] = [
    ("rate_limited", About::Limit, None),
    ("ratelimited", About::Limit, None),
    ("message_limit_exceeded", About::Limit, Some("the workspace sends too many messages")),
    ("service_unavailable", About::Moment, None),
    ("internal_error", About::Moment, None),
    ("fatal_error", About::Moment, None),
    ("rollup_error", About::Moment, None),
    ("server_error", About::Moment, None),
    ("team_added_to_org", About::Moment, Some("the workspace is moving into an organisation")),
    ("org_migration_in_progress", About::Moment, Some("the workspace is moving into an organisation")),
    ("invalid_payload", About::Payload, None),
    ("no_text", About::Payload, None),
    ("missing_text_or_fallback_or_attachments", About::Payload, None),
    ("too_many_attachments", About::Payload, None),
    ("attachment_payload_limit_exceeded", About::Payload, None),
    ("too_many_contact_cards", About::Payload, None),
    ("invalid_blocks", About::Payload, None),
    ("invalid_blocks_format", About::Payload, None),
    ("invalid_attachments", About::Payload, None),
    ("msg_too_long", About::Payload, None),
    ("msg_blocks_too_long", About::Payload, None),
    ("markdown_text_conflict", About::Payload, None),
    ("metadata_too_large", About::Payload, None),
    ("metadata_must_be_sent_from_app", About::Payload, None),
    ("as_user_not_supported", About::Payload, None),
    ("invalid_arguments", About::Payload, None),
    ("invalid_arg_name", About::Payload, None),
    ("invalid_array_arg", About::Payload, None),
    ("invalid_charset", About::Payload, None),
    ("invalid_form_data", About::Payload, None),
    ("invalid_post_type", About::Payload, None),
    ("missing_post_type", About::Payload, None),
    ("invalid_json", About::Payload, None),
    ("json_not_object", About::Payload, None),
    ("cannot_reply_to_message", About::Payload, None),
    // In spite of its name: the body was missing or cut short.
    ("request_timeout", About::Payload, None),
    ("invalid_auth", About::Auth, Some(NO_TOKEN)),
    ("not_authed", About::Auth, Some(NO_TOKEN)),
    ("token_revoked", About::Auth, Some(NO_TOKEN)),
    ("token_expired", About::Auth, Some(NO_TOKEN)),
    ("account_inactive", About::Auth, Some("the app or its bot was removed from the workspace: install it again")),
    ("missing_scope", About::Auth, Some(NO_SCOPE)),
    ("no_permission", About::Auth, Some(NO_SCOPE)),
    ("not_allowed_token_type", About::Auth, Some("the token is not that of a bot: configure the one that begins with `xoxb-`")),
    ("org_login_required", About::Auth, Some("the workspace has moved into an organisation: reinstall the app there")),
    ("team_access_not_granted", About::Auth, Some(NOT_ALLOWED)),
    ("team_not_found", About::Auth, None),
    ("two_factor_setup_required", About::Auth, Some(NOT_ALLOWED)),
    ("ekm_access_denied", About::Auth, Some(NOT_ALLOWED)),
    ("enterprise_is_restricted", About::Auth, Some(NOT_ALLOWED)),
    ("accesslimited", About::Auth, Some("the network that the relay sends from is not allowed: ask an administrator")),
    ("access_denied", About::Auth, Some(NOT_ALLOWED)),
    ("app_access_denied", About::Auth, Some(NOT_ALLOWED)),
    ("method_deprecated", About::Auth, Some("Slack has given up this method: a newer audit-relay is needed")),
    ("deprecated_endpoint", About::Auth, Some("Slack has given up this address: a newer audit-relay is needed")),
    ("unknown_method", About::Auth, Some("there is no Web API at this address: check `endpoint`")),
    ("no_service", About::Webhook, None),
    ("no_service_id", About::Webhook, None),
    ("no_active_hooks", About::Webhook, None),
    ("no_team", About::Webhook, Some("the workspace of this webhook is gone: configure another one")),
    ("team_disabled", About::Webhook, Some("the workspace of this webhook is switched off")),
    ("invalid_token", About::Webhook, Some("the address of the webhook is wrong or revoked: configure the right one")),
    ("channel_not_found", About::Channel, Some(NO_CHANNEL)),
    ("user_not_found", About::Channel, Some("whom this webhook writes to is not there any more: configure another one")),
    ("not_in_channel", About::Channel, Some(NOT_IN)),
    ("channel_is_archived", About::Channel, Some(ARCHIVED)),
    ("is_archived", About::Channel, Some(ARCHIVED)),
    ("is_inactive", About::Channel, Some("the channel is frozen: configure another one")),
    ("messages_tab_disabled", About::Channel, Some("the app's own messages are switched off: configure a channel")),
    ("action_prohibited", About::Channel, Some(RESTRICTED)),
    ("posting_to_general_channel_denied", About::Channel, Some(RESTRICTED)),
    ("restricted_action", About::Channel, Some(RESTRICTED)),
    ("restricted_action_read_only_channel", About::Channel, Some(RESTRICTED)),
    ("restricted_action_thread_only_channel", About::Channel, Some(RESTRICTED)),
    ("restricted_action_non_threadable_channel", About::Channel, Some(RESTRICTED)),
    ("restricted_action_thread_locked", About::Channel, Some(RESTRICTED)),
    ("external_channel_migrating", About::Moment, Some("the channel is moving to another workspace")),
];

/// An answer of the Web API.
#[derive(Deserialize)]
struct Answer<'a> {
    ok: bool,
    #[serde(borrow)]
    error: Option<std::borrow::Cow<'a, str>>,
    /// The scope that is missing.
    #[serde(borrow)]
    needed: Option<std::borrow::Cow<'a, str>>,
}

/// Reads an answer that came at `now`; `excerpt` is what may be shown of it.
pub(super) fn classify(
    response: &Response,
    is_webhook: bool,
    now: Timestamp,
    excerpt: impl Fn(&[u8]) -> String,
) -> Outcome {
    let Response::Http { status, retry_after: header, body, .. } = response else {
        return Outcome::Delivered;
    };
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let answer = serde_json::from_str::<Answer<'_>>(text).ok();
    let is_taken = if is_webhook { text == "ok" } else { is_ok(text, answer.as_ref()) };
    if *status == 200 && is_taken {
        return Outcome::Delivered;
    }
    let word = answer.as_ref().and_then(|answer| answer.error.as_deref()).unwrap_or(text);
    if let Some((word, about, advice)) = WORDS.iter().find(|(known, ..)| *known == word) {
        let advice = advice.unwrap_or(about.advice());
        let needed = answer.as_ref().and_then(|answer| answer.needed.as_deref());
        let needed = needed.filter(|_| *word == "missing_scope").map(|scope| excerpt(scope.as_bytes()));
        let message = match about {
            About::Auth | About::Webhook | About::Channel => {
                let (advice, word) = (advice.replacen(": ", "; ", 1), format!(" ({status} `{word}`)"));
                match needed {
                    Some(scope) => {
                        Message::around(&format!("{advice} (needed: "), &scope, &format!("){word}"))
                    }
                    None => format!("{advice}{word}").into(),
                }
            }
            _ => format!("Slack answered {status} `{word}`: {advice}").into(),
        };
        return outcome(*about, Reason { code: about.code(), message }, header.as_deref(), now);
    }
    let said = excerpt(body);
    let new = answer.as_ref().filter(|answer| !answer.ok).and_then(|answer| answer.error.as_deref());
    let new = new.map(|word| excerpt(word.as_bytes())).filter(|word| !word.is_empty());
    match status {
        // Neither yes nor a word that is known to mean no: perhaps not even Slack, or a later one of its words.
        200..=299 => Outcome::Retry {
            not_before: header.as_deref().and_then(|value| retry_after(value, now)),
            reason: match new {
                Some(word) => Reason {
                    code: "slack_unknown",
                    message: Message::around(
                        "Slack answered `",
                        &one_line(&word, WORD),
                        "`, which this version does not know",
                    ),
                },
                None => Reason {
                    code: "slack_odd",
                    message: Message::quoting(
                        &format!("Slack answered {status}, and neither `ok` nor what is wrong"),
                        &said,
                        "",
                    ),
                },
            },
        },
        _ => {
            let outcome = verdict(*status, header.as_deref(), now, || {
                let redirect =
                    if (300..400).contains(status) { ", and redirects are not followed" } else { "" };
                Message::quoting(&format!("Slack answered {status}{redirect}"), &said, "")
            });
            match outcome {
                // A channel comes back; so may what answers in its place.
                Outcome::Blocked { reason, .. } => Outcome::Blocked { gone: false, reason },
                other => other,
            }
        }
    }
}

/// Whether the Web API took it. It repeats the whole message, of which the end may be missing here.
fn is_ok(text: &str, answer: Option<&Answer<'_>>) -> bool {
    let start: String = text.chars().filter(|character| !character.is_whitespace()).take(11).collect();
    answer.map_or(start == "{\"ok\":true,", |answer| answer.ok)
}

fn outcome(about: About, reason: Reason, header: Option<&str>, now: Timestamp) -> Outcome {
    match about {
        About::Limit | About::Moment => {
            Outcome::Retry { not_before: header.and_then(|value| retry_after(value, now)), reason }
        }
        About::Payload => Outcome::Rejected(reason),
        // None of these is for good: channels are un-archived, apps reinstalled.
        About::Auth | About::Webhook | About::Channel => Outcome::Blocked { gone: false, reason },
    }
}

#[cfg(test)]
mod tests;

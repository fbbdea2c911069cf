//! What a receiver said, made fit for people.

use crate::config::plan::{WebhookFormat, WebhookPlan};
use crate::destination::Message;
use crate::destination::excerpt::Secrets;

/// What came back, in a sentence without secrets.
pub(super) fn message(status: u16, body: &[u8], plan: &WebhookPlan) -> Message {
    let redirect = if (300..400).contains(&status) { ", and redirects are not followed" } else { "" };
    Message::quoting(&format!("the receiver answered {status}{redirect}"), &excerpt(body, plan), "")
}

/// The beginning of a body, without secrets.
pub(super) fn excerpt(body: &[u8], plan: &WebhookPlan) -> String {
    let mut secrets = Secrets::default();
    secrets.url(plan.url.expose());
    let template = match &plan.format {
        WebhookFormat::Template(template) => &template.headers[..],
        _ => &[],
    };
    plan.headers.iter().chain(template).for_each(|(_, value)| secrets.header(value.expose()));
    let signing = plan.signing.iter().flat_map(|signing| &signing.secrets);
    signing.for_each(|secret| secrets.value(secret.expose()));
    secrets.excerpt(body)
}

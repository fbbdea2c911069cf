//! Tells whether anything that decides about a receiver's answer has changed.

use sha2::{Digest, Sha256};

use crate::config::plan::{DestinationKind, DestinationPlan, SlackAccess, WebhookFormat, WebhookPlan};
use crate::config::secret::Secret;

/// How much of a hash over the secrets goes in, in bytes: enough to notice a new one nearly always, too
/// little to find one out by trying.
const SECRET_BYTES: usize = 2;

/// The fingerprint of a plan, in 16 hexadecimal digits.
///
/// All that shows is the plan as `Debug` writes it, where every secret is redacted; of the secrets
/// themselves 16 bits of one hash over all of them.
pub(super) fn of(plan: &DestinationPlan) -> String {
    let mut all = Sha256::new();
    all.update(format!("{plan:?}"));
    all.update(&secrets(plan)[..SECRET_BYTES]);
    hex::encode(&all.finalize()[..8])
}

fn secrets(plan: &DestinationPlan) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut take = |secret: &Secret| {
        hash.update(secret.expose().len().to_be_bytes());
        hash.update(secret.expose());
    };
    plan.proxy.iter().for_each(&mut take);
    let webhook = match &plan.kind {
        Ok(DestinationKind::Webhook(webhook)) => Some(webhook),
        Ok(DestinationKind::Relay(relay)) => Some(&relay.webhook),
        _ => None,
    };
    if let Some(WebhookPlan { url, headers, signing, format, .. }) = webhook {
        take(url);
        headers.iter().for_each(|(_, value)| take(value));
        signing.iter().flat_map(|signing| &signing.secrets).for_each(&mut take);
        if let WebhookFormat::Template(template) = format {
            take(&template.body);
            template.headers.iter().for_each(|(_, value)| take(value));
        }
    }
    match &plan.kind {
        Ok(DestinationKind::Slack(slack)) => match &slack.access {
            SlackAccess::Webhook(url) => take(url),
            SlackAccess::Bot { token, endpoint, .. } => [token, endpoint].into_iter().for_each(take),
        },
        Ok(DestinationKind::Datadog(datadog)) => {
            [&*datadog.url, &datadog.api_key].into_iter().chain(&datadog.app_key).for_each(take);
        }
        Ok(DestinationKind::Otlp(otlp)) => {
            take(&otlp.url);
            otlp.headers.iter().for_each(|(_, value)| take(value));
        }
        _ => {}
    }
    hash.finalize().into()
}

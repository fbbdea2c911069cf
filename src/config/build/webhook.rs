//! Webhooks: headers, signatures, formats, certificates.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Judge;
use crate::config::plan::{
    BatchEncoding, DestinationKind, SigningPlan, SigningScheme, TemplatePlan, WebhookFormat, WebhookPlan,
};
use crate::config::raw::common::{Scheme, Signing, Tls};
use crate::config::raw::destination::{EncodingWord, FormatWord, Template as Written, Webhook};
use crate::config::secret::Secret;
use crate::config::secrets::References;
use crate::destination::envelope::record_type;
use crate::destination::template::{self, Template, TemplateError};
use crate::signing::standard_webhooks;

/// The webhook; the error says why it cannot work now.
pub(super) fn webhook(
    path: &str,
    webhook: &Webhook,
    judge: &mut Judge<'_>,
) -> Result<DestinationKind, String> {
    one_event_a_request(path, webhook, judge);
    if let Some(tls) = &webhook.tls {
        self::tls(path, tls, judge);
    }
    let headers = headers(path, webhook, judge);
    let signing = signing(path, &webhook.signing.0, judge);
    let format = format(path, webhook, judge);
    let url = match &webhook.url {
        Some(url) => url.0.clone(),
        // It stands behind a reference that was not to be looked up, or its problem is told already.
        None => Secret::new(""),
    };
    Ok(DestinationKind::Webhook(WebhookPlan {
        url: Arc::new(url),
        format: format?,
        encoding: match webhook.encoding {
            EncodingWord::Array => BatchEncoding::Array,
            EncodingWord::Ndjson => BatchEncoding::Ndjson,
        },
        headers: headers?,
        signing: signing?,
    }))
}

/// Formats that hold one event have no room for a batch; one that sends it as it came leaves nothing out.
fn one_event_a_request(path: &str, webhook: &Webhook, judge: &mut Judge<'_>) {
    let word = match webhook.format {
        FormatWord::Envelope => return,
        FormatWord::Flipt => "flipt",
        FormatWord::Template => "template",
        FormatWord::Cloudevents => "cloudevents",
    };
    if webhook.common.batch.max_events > 1 {
        let message = format!("`format: {word}` sends one event a request");
        judge.problem(&format!("{path}.batch.max_events"), &message, Some("1, or `format: envelope`"));
    }
    if webhook.format == FormatWord::Flipt && judge.is_written(&format!("{path}.redact")) {
        let message = "`format: flipt` sends the event as it came";
        judge.problem(&format!("{path}.redact"), message, Some("no such key, or `format: envelope`"));
    }
}

/// A certificate and its key go together.
pub(super) fn tls(path: &str, tls: &Tls, judge: &mut Judge<'_>) {
    let lonely = match (&tls.cert, &tls.key) {
        (Some(_), None) => ("cert", "key"),
        (None, Some(_)) => ("key", "cert"),
        _ => return,
    };
    let (path, other) = (format!("{path}.tls.{}", lonely.0), format!("{path}.tls.{}", lonely.1));
    if !judge.is_written(&other) {
        judge.problem(&path, &format!("no `{}` beside it", lonely.1), Some("both, or none"));
    }
}

/// A secret that cannot be used: like a reference that is missing it stops its destination alone, and for
/// `check` it is a problem. Gives the reason.
pub(super) fn unfit(path: &str, key: &str, why: &str, expected: &str, judge: &mut Judge<'_>) -> String {
    let path = format!("{path}.{key}");
    match judge.context.references {
        References::Resolve => judge.warn(&path, why),
        _ => judge.problem(&path, why, Some(expected)),
    }
    format!("{key}: {why}")
}

/// Headers that belong to the connection or to the body.
const RESERVED: [&str; 5] = ["connection", "content-length", "host", "transfer-encoding", "upgrade"];

/// What is wrong with a header's value.
pub(super) const UNFIT_HEADER: &str = "a value that no header can carry";

/// Whether a header can carry it.
pub(super) fn is_header_text(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte))
}

/// The headers as written, and the one that `bearer` or `basic` makes; the error says why none can be sent.
fn headers(path: &str, webhook: &Webhook, judge: &mut Judge<'_>) -> Result<Vec<(String, Secret)>, String> {
    let mut headers: Vec<(String, Secret)> = Vec::new();
    let mut stops = None;
    let mut add = |name: String, value: String, key: &str, judge: &mut Judge<'_>| {
        if !is_free(path, key, &name, &headers, judge) {
        } else if !is_header_text(&value) {
            stops = Some(unfit(path, key, UNFIT_HEADER, "printable ASCII in one line", judge));
        } else {
            headers.push((name, Secret::new(value)));
        }
    };
    for (name, value) in &webhook.headers.0 {
        add(name.to_ascii_lowercase(), value.0.expose().to_owned(), &format!("headers.{name}"), judge);
    }
    if let Some(token) = &webhook.bearer {
        add("authorization".into(), format!("Bearer {}", token.0.expose()), "bearer", judge);
    }
    if let Some(basic) = &webhook.basic
        && let (Some(user), Some(password)) = (&basic.username, &basic.password)
    {
        if user.contains(':') {
            judge.problem(&format!("{path}.basic.username"), "a colon ends the user name", Some("no colon"));
        }
        let pair = format!("{user}:{}", password.0.expose());
        add("authorization".into(), format!("Basic {}", BASE64_STANDARD.encode(&pair)), "basic", judge);
    }
    stops.map_or(Ok(headers), Err)
}

/// Whether a header may be set here, and is not set already.
pub(super) fn is_free(
    path: &str,
    key: &str,
    name: &str,
    earlier: &[(String, Secret)],
    judge: &mut Judge<'_>,
) -> bool {
    let path = format!("{path}.{key}");
    if RESERVED.contains(&name) {
        judge.problem(&path, "this header is set by the connection", None);
    } else if earlier.iter().any(|(taken, _)| taken == name) {
        judge.problem(&path, &format!("a second `{name}` header"), Some("one of them"));
    } else {
        return true;
    }
    false
}

/// The signatures as written; the error says why none can be made.
pub(super) fn signing(
    path: &str,
    items: &[Signing],
    judge: &mut Judge<'_>,
) -> Result<Vec<SigningPlan>, String> {
    let mut plans: Vec<SigningPlan> = Vec::new();
    let mut stops = None;
    for (index, item) in items.iter().enumerate() {
        let Some(scheme) = item.scheme else { continue };
        let scheme = match scheme {
            Scheme::Flipt => SigningScheme::Flipt,
            Scheme::StandardWebhooks => SigningScheme::StandardWebhooks,
            Scheme::Github => SigningScheme::Github,
        };
        if plans.iter().any(|earlier| earlier.scheme == scheme) {
            let path = format!("{path}.signing[{index}].scheme");
            judge.problem(&path, "the same scheme twice", Some("all its secrets in one list"));
        }
        let secrets: Vec<Secret> = item.secrets.0.iter().map(|secret| secret.0.clone()).collect();
        for (place, secret) in secrets.iter().enumerate() {
            if scheme == SigningScheme::StandardWebhooks
                && let Err(why) = standard_webhooks::key(secret)
            {
                let key = format!("signing[{index}].secrets[{place}]");
                stops = Some(unfit(path, &key, why, standard_webhooks::SECRET_FORM, judge));
            }
        }
        plans.push(SigningPlan { scheme, secrets });
    }
    stops.map_or(Ok(plans), Err)
}

fn format(path: &str, webhook: &Webhook, judge: &mut Judge<'_>) -> Result<WebhookFormat, String> {
    match (webhook.format, &webhook.template) {
        (FormatWord::Template, None) if !judge.is_written(&format!("{path}.template")) => {
            judge.problem(&format!("{path}.format"), "`format: template` without a `template`", None);
        }
        (FormatWord::Template, _) | (_, None) => {}
        _ => {
            judge.problem(&format!("{path}.template"), "not used by this format", Some("`format: template`"))
        }
    }
    Ok(match webhook.format {
        FormatWord::Envelope => WebhookFormat::Envelope,
        FormatWord::Flipt => WebhookFormat::Flipt,
        FormatWord::Cloudevents => WebhookFormat::CloudEvents,
        FormatWord::Template => WebhookFormat::Template(Arc::new(template(
            path,
            &webhook.template.clone().unwrap_or_default(),
            judge,
        ))),
    })
}

fn template(path: &str, template: &Written, judge: &mut Judge<'_>) -> TemplatePlan {
    let path = format!("{path}.template");
    let mut headers = Vec::new();
    for (name, value) in &template.headers.0 {
        let lower = name.to_ascii_lowercase();
        if is_free(&path, &format!("headers.{name}"), &lower, &headers, judge) {
            headers.push((lower, value.0.clone()));
        }
    }
    let body = template.body.as_ref().map(|body| body.0.clone());
    let is_known = body.is_some();
    let plan = TemplatePlan {
        body: body.unwrap_or_else(|| Secret::new("")),
        headers,
        content_type: template.content_type.clone(),
    };
    if !plan.content_type.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        judge.problem(&format!("{path}.content_type"), "a value that no header can carry", None);
    }
    // What stands behind a reference that was not to be looked up, or is told already, cannot be tried.
    if is_known {
        try_out(&path, &plan, judge);
    }
    plan
}

/// Renders a template for records of every kind: what it fails for is likely not meant, and may be.
fn try_out(path: &str, plan: &TemplatePlan, judge: &mut Judge<'_>) {
    let is_short = !judge.is_written(&format!("{path}.body"));
    let key = |key: &str| match key {
        "body" if is_short => path.to_owned(),
        key => format!("{path}.{key}"),
    };
    let template = match Template::new(plan) {
        Ok(template) => template,
        Err(error) => {
            let key = key(&error.key);
            judge.problem(&key, &format!("not a template: {}", error.message), None);
            return;
        }
    };
    let samples = template::samples();
    let mut failed: Vec<(TemplateError, Vec<String>)> = Vec::new();
    for sample in &samples {
        let Err(error) = template.render(sample) else { continue };
        let kind = record_type(sample);
        match failed.iter_mut().find(|(earlier, _)| *earlier == error) {
            Some((_, kinds)) => kinds.push(kind),
            None => failed.push((error, vec![kind])),
        }
    }
    for (error, kinds) in failed {
        let key = key(&error.key);
        let which = if kinds.len() == samples.len() { "every record".to_owned() } else { kinds.join(", ") };
        let dead = "each such becomes a dead letter";
        judge.warn(&key, &format!("the template fails for {which} ({dead}): {}", error.message));
    }
}

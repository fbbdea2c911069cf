//! What a receiver of OTLP said (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>).

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use serde::{Deserialize, Deserializer};

use super::PATH;
use crate::config::plan::OtlpPlan;
use crate::destination::excerpt::Secrets;
use crate::destination::verdict::verdict;
use crate::destination::{Message, Outcome, Reason, Response};
use crate::event::Timestamp;

/// The word of a record that a receiver rejected while it took the request.
const PARTIAL: &str = "partial_success";

/// What an answer means: as [`verdict`] says of any receiver, but for the records that a request of which the
/// receiver took a part did not bring in.
///
/// Of 5xx, OTLP lets a client repeat 502, 503 and 504 alone, since others may be for ever; an audit trail would
/// rather ask again: what fails for ever while others pass is parked until it expires.
///
/// Of a partial success nobody says which records were rejected. The specification wants such a request not to be
/// repeated: all that telemetry loses is a part. Here nothing may be lost unseen, so the members are sent again in
/// halves until those that are rejected stand alone. What was taken before comes twice then, under the same
/// `log.record.uid`.
pub(super) fn classify(response: &Response, now: Timestamp, plan: &OtlpPlan) -> Outcome {
    let Response::Http { status, retry_after, body, .. } = response else { return Outcome::Delivered };
    match verdict(*status, retry_after.as_deref(), now, || message(*status, body, plan)) {
        Outcome::Delivered => match partial(body) {
            Partial { rejected: 1.., .. } => {
                Outcome::Rejected(Reason { code: PARTIAL, message: rejected(body, plan) })
            }
            _ => Outcome::Delivered,
        },
        outcome => outcome,
    }
}

/// What a receiver warns of that took everything: OTLP lets it say so in the message of a partial success that
/// rejects nothing.
pub(super) fn remark(response: &Response, plan: &OtlpPlan) -> Option<Message> {
    let Response::Http { status: 200..=299, body, .. } = response else { return None };
    let Partial { rejected, message } = partial(body);
    let said = secrets(plan).excerpt(message.as_bytes());
    (rejected <= 0 && !said.is_empty())
        .then(|| Message::quoting("delivered, and the receiver warns", &said, ""))
}

/// The beginning of what it said, without secrets.
pub(super) fn excerpt(body: &[u8], plan: &OtlpPlan) -> String {
    secrets(plan).excerpt(said(body).as_bytes())
}

fn rejected(body: &[u8], plan: &OtlpPlan) -> Message {
    let Partial { rejected, message } = partial(body);
    let said = secrets(plan).excerpt(message.as_bytes());
    let silent = if said.is_empty() { ", and does not say why" } else { "" };
    let records = if rejected == 1 { "log record" } else { "log records" };
    Message::quoting(&format!("the receiver rejected {rejected} {records}"), &said, silent)
}

fn message(status: u16, body: &[u8], plan: &OtlpPlan) -> Message {
    let excerpt = excerpt(body, plan);
    let hint = match status {
        300..=399 => "; redirects are not followed",
        404 | 405 if !plan.url.expose().ends_with(PATH) => {
            "; `endpoint` has a path, and is used as it is: does it lack `/v1/logs` at its end?"
        }
        415 => "; does it take OTLP as `application/x-protobuf`?",
        _ => "",
    };
    Message::quoting(&format!("the receiver answered {status}"), &excerpt, hint)
}

fn secrets(plan: &OtlpPlan) -> Secrets {
    let mut secrets = Secrets::default();
    let url = plan.url.expose();
    // The path that everybody knows is no secret.
    match url::Url::parse(url) {
        Ok(parsed) if parsed.path() == PATH => secrets.parts_of(url),
        _ => secrets.url(url),
    }
    plan.headers.iter().for_each(|(_, value)| secrets.header(value.expose()));
    secrets
}

/// `google.rpc.Status`, which a receiver says when it does not take a request; of its details nothing is read.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The message of an answer, whatever it is written in; all of what is text, and of what is neither.
fn said(body: &[u8]) -> String {
    let is_protobuf = body.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace());
    let message = match is_protobuf {
        true => Status::decode(body).map(|status| status.message).unwrap_or_default(),
        false => serde_json::from_slice::<JsonStatus>(body).map(|status| status.message).unwrap_or_default(),
    };
    let message = if message.is_empty() { partial(body).message } else { message };
    match message.is_empty() {
        true => String::from_utf8_lossy(body).into_owned(),
        false => message,
    }
}

#[derive(Default, Deserialize)]
struct JsonStatus {
    message: String,
}

/// What of a request was not taken; nothing of what says nothing about it.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Partial {
    /// How many records. Negative numbers are nonsense, and none.
    #[serde(rename = "rejectedLogRecords", deserialize_with = "number")]
    rejected: i64,
    #[serde(rename = "errorMessage")]
    message: String,
}

/// The partial success of an answer in protobuf, or in JSON, which some answer whatever they are asked in. Anything
/// else says nothing: a proxy's page with status 200 is a success like an empty body.
fn partial(body: &[u8]) -> Partial {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct JsonResponse {
        partial_success: Option<Partial>,
    }
    if body.first() == Some(&b'{') {
        let response: JsonResponse = serde_json::from_slice(body).unwrap_or_default();
        return response.partial_success.unwrap_or_default();
    }
    match ExportLogsServiceResponse::decode(body) {
        Ok(response) => response.partial_success.map_or_else(Partial::default, |partial| Partial {
            rejected: partial.rejected_log_records,
            message: partial.error_message,
        }),
        Err(_) => beginning(body).unwrap_or_default(),
    }
}

/// How many records an answer rejects whose end was not read: the number comes first, and the message may be long.
fn beginning(body: &[u8]) -> Option<Partial> {
    /// `partial_success`, and in it `rejected_log_records` and `error_message`: number of the field, and type.
    const PARTIAL_SUCCESS: u8 = 1 << 3 | 2;
    const REJECTED_LOG_RECORDS: u8 = 1 << 3;
    const ERROR_MESSAGE: u8 = 2 << 3 | 2;
    let mut rest = body.strip_prefix(&[PARTIAL_SUCCESS])?;
    let length = prost::decode_length_delimiter(&mut rest).ok()?;
    if length <= rest.len() {
        return None; // it is whole, and wrong
    }
    let mut rest = rest.strip_prefix(&[REJECTED_LOG_RECORDS])?;
    let rejected = prost::decode_length_delimiter(&mut rest).ok()?;
    let message = rest.strip_prefix(&[ERROR_MESSAGE]).and_then(|mut rest| {
        prost::decode_length_delimiter(&mut rest).ok()?;
        Some(String::from_utf8_lossy(rest).into_owned())
    });
    Some(Partial { rejected: i64::try_from(rejected).ok()?, message: message.unwrap_or_default() })
}

/// Proto3's JSON writes 64-bit numbers as texts.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(i64),
        Text(String),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Number(number) => number,
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom)?,
    })
}

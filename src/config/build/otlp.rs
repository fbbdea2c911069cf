//! OTLP: where log records go.

use std::sync::Arc;

use url::Url;

use super::Judge;
use super::messages::is_in_the_clear;
use super::webhook::{self, UNFIT_HEADER, is_free, is_header_text, unfit};
use crate::config::plan::{DestinationKind, OtlpCompression, OtlpPlan};
use crate::config::raw::Raw;
use crate::config::raw::destination::{CompressionWord, Otlp};
use crate::config::secret::Secret;
use crate::config::walk::is_secret_header;
use crate::destination::otlp::{OWN_HEADERS, PATH};

/// Where collectors take OTLP by gRPC.
const GRPC_PORT: u16 = 4317;

/// The receiver; the error says why it cannot work now.
pub(super) fn otlp(
    path: &str,
    otlp: &Otlp,
    raw: &Raw,
    judge: &mut Judge<'_>,
) -> Result<DestinationKind, String> {
    if let Some(tls) = &otlp.tls {
        webhook::tls(path, tls, judge);
    }
    let url = otlp.endpoint.as_ref().map(|endpoint| address(path, endpoint.0.expose(), otlp, judge));
    let headers = headers(path, otlp, judge);
    if otlp.attributes.contains_key("") {
        judge.problem(&format!("{path}.attributes"), "an attribute without a name", Some("a name"));
    }
    Ok(DestinationKind::Otlp(Box::new(OtlpPlan {
        name: raw.name.0.clone(),
        // Without one, it stands behind a reference that was not to be looked up, or is told already.
        url: Arc::new(Secret::new(url.unwrap_or_default())),
        headers: headers?,
        compression: match otlp.compression {
            CompressionWord::Gzip => OtlpCompression::Gzip,
            CompressionWord::None => OtlpCompression::None,
        },
        attributes: otlp.attributes.clone(),
    })))
}

/// Where the receiver takes logs.
fn address(path: &str, written: &str, otlp: &Otlp, judge: &mut Judge<'_>) -> String {
    let Ok(mut url) = Url::parse(written) else { return written.to_owned() };
    let path = format!("{path}.endpoint");
    if url.port() == Some(GRPC_PORT) {
        judge.warn(
            &path,
            "4317 is where collectors speak gRPC; this is OTLP over HTTP, for which they have 4318",
        );
    }
    if otlp.headers.0.keys().any(|name| is_secret_header(name)) && is_in_the_clear(&url) {
        judge.warn(&path, "`http`: what shows who sends crosses the network unencrypted");
    }
    if url.path().trim_end_matches('/').ends_with("/otlp") {
        let message =
            "a base address, as collectors want it: it is used as it is, and `/v1/logs` is not added";
        judge.warn(&path, message);
    }
    if url.path().is_empty() || url.path() == "/" {
        url.set_path(PATH);
        return url.into();
    }
    written.to_owned()
}

/// The headers as written; the error says why none can be sent.
fn headers(path: &str, otlp: &Otlp, judge: &mut Judge<'_>) -> Result<Vec<(String, Secret)>, String> {
    let mut headers: Vec<(String, Secret)> = Vec::new();
    let mut stops = None;
    for (name, value) in &otlp.headers.0 {
        let (key, lower) = (format!("headers.{name}"), name.to_ascii_lowercase());
        if OWN_HEADERS.contains(&lower.as_str()) {
            judge.problem(
                &format!("{path}.{key}"),
                "this header says what the body is: the relay sets it",
                None,
            );
        } else if !is_free(path, &key, &lower, &headers, judge) {
        } else if !is_header_text(value.0.expose()) {
            stops = Some(unfit(path, &key, UNFIT_HEADER, "printable ASCII in one line", judge));
        } else {
            headers.push((lower, value.0.clone()));
        }
    }
    stops.map_or(Ok(headers), Err)
}

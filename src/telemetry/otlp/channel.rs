//! OTLP over gRPC (<https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>): the connection and what goes with requests.

use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use super::client::{AGENT, address, headers};
use crate::client::distrust;
use crate::config::plan::TlsPlan;
use crate::telemetry::settings::Signal;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// While a request waits this long, the other side is asked whether it is there, and has as long to answer: a
/// connection whose other side is gone is not kept for the next request.
const PING_INTERVAL: Duration = Duration::from_secs(4);

/// Puts metadata on requests.
#[derive(Debug, Clone)]
pub(super) struct OwnMetadata(MetadataMap);

impl OwnMetadata {
    /// On a request with this message.
    pub(super) fn on<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.0.clone();
        request
    }
}

/// For the SDK's exporter: it asks before there is a message, and has put on what it read from the environment once
/// more.
impl Interceptor for OwnMetadata {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        *request.metadata_mut() = self.0.clone();
        Ok(request)
    }
}

/// A connection that is made when it is first used, on the runtime in which this is called.
///
/// Without `tls.ca` the system's authorities are trusted, with it none but those in it. No proxy is used.
///
/// # Errors
/// What of the signal cannot be used, without secrets.
pub(super) fn connect(signal: &Signal) -> Result<(Channel, OwnMetadata), String> {
    let address = address(signal)?;
    let metadata = OwnMetadata(MetadataMap::from_headers(headers(&signal.headers)?));
    let unusable = |_| "the endpoint is not an address like http://127.0.0.1:4317".to_owned();
    let endpoint = Endpoint::from_shared(address.to_string()).map_err(unusable)?;
    let mut endpoint = endpoint
        .user_agent(AGENT)
        .map_err(unusable)?
        .timeout(signal.timeout)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .tcp_nodelay(true);
    if address.scheme() == "https" {
        let unusable = |_| "TLS cannot be set up".to_owned();
        let config = tls(&signal.tls)?;
        endpoint = match endpoint.clone().tls_config(config.clone().with_native_roots()) {
            _ if signal.tls.ca.is_some() => endpoint.tls_config(config),
            // A system without authorities: every certificate is refused as untrusted.
            Err(_) => endpoint.tls_config(config),
            with_roots => with_roots,
        }
        .map_err(unusable)?;
    }
    Ok((endpoint.connect_lazy(), metadata))
}

fn tls(plan: &TlsPlan) -> Result<ClientTlsConfig, String> {
    // It says what is wrong with the files, in the words of everybody else who has them.
    drop(crate::client::build(plan, None)?);
    let read = |path| std::fs::read(path).map_err(|error| format!("tls: {error}"));
    let mut config = ClientTlsConfig::new().timeout(CONNECT_TIMEOUT);
    if let Some(ca) = &plan.ca {
        config = config.ca_certificate(Certificate::from_pem(read(ca)?));
    }
    if let Some((cert, key)) = &plan.identity {
        config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(config)
}

/// Why a request was not taken, without what the collector says of it: that may repeat what it was sent.
pub(super) fn refusal(status: &Status) -> String {
    let Some(cause) = std::error::Error::source(status) else {
        return match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => "no answer in time".to_owned(),
            code => format!("the collector answers {code:?}"),
        };
    };
    if let Some(why) = distrust(cause) {
        return why;
    }
    let (mut text, mut cause) = (cause.to_string(), cause.source());
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

//! Against collectors on 127.0.0.1 that answer as they are told to.

mod failing;
mod mapping;
mod pushing;
mod receivers;
mod reloading;
mod sending;

use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry::trace::{Span as _, Tracer as _};
use opentelemetry_sdk::trace::SdkTracer;

use super::{SpanCounts, Telemetry};
use crate::config::plan::{OtlpProtocol, TlsPlan};
use crate::config::secret::Secret;
use crate::telemetry::settings::{Queue, Sampler, Settings, Signal};

const BOTH: [OtlpProtocol; 2] = [OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc];

/// Long enough that nothing here waits for it to pass.
const LONG: Duration = Duration::from_secs(60);

fn signal(protocol: OtlpProtocol, address: SocketAddr, path: &str) -> Signal {
    let endpoint = match protocol {
        OtlpProtocol::HttpProtobuf => format!("http://{address}/{path}"),
        OtlpProtocol::Grpc => format!("http://{address}"),
    };
    Signal {
        protocol,
        endpoint: Secret::new(endpoint),
        headers: vec![("x-token".to_owned(), Secret::new("PLANTED 50%25"))],
        timeout: LONG,
        gzip: false,
        tls: TlsPlan::default(),
    }
}

/// Nothing goes anywhere.
fn off() -> Settings {
    Settings {
        traces: None,
        metrics: None,
        resource: vec![("service.name".to_owned(), "audit-relay".to_owned())],
        sampler: Sampler { is_parent_based: true, ratio: 1.0 },
        propagates: true,
        queue: Queue { max_spans: 2_048, max_batch: 512, delay: Duration::from_millis(5) },
        max_links: 1_024,
        metric_interval: Duration::from_millis(5),
        shutdown_timeout: LONG,
    }
}

fn traces(protocol: OtlpProtocol, address: SocketAddr) -> Settings {
    Settings { traces: Some(signal(protocol, address, "v1/traces")), ..off() }
}

fn tracer(telemetry: &Telemetry) -> SdkTracer {
    let settings = telemetry.settings.as_ref().expect("it runs");
    telemetry.pipeline.as_ref().expect("traces are on").live(settings).tracer
}

fn end_spans(telemetry: &Telemetry, count: u64) {
    let tracer = tracer(telemetry);
    for number in 0..count {
        tracer.start(format!("send {number}")).end();
    }
}

/// Everything that a span can become, added up.
fn all(counts: SpanCounts) -> u64 {
    counts.by_outcome().iter().map(|(_, count)| count).sum()
}

/// The address of a port at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}

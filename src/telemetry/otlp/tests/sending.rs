//! Collectors that work.

use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, TraceFlags, TraceId, TraceState, Tracer as _,
};
use tonic::transport::{Identity, ServerTlsConfig};

use super::receivers::{Collector, Reply};
use super::*;

#[tokio::test]
async fn spans_arrive_as_they_are_by_both_protocols() {
    for protocol in BOTH {
        for gzip in [false, true] {
            let collector = Collector::start(protocol, []).await;
            let mut settings = traces(protocol, collector.address);
            settings.traces.as_mut().unwrap().gzip = gzip;
            let telemetry = Telemetry::start(&settings);
            assert!(telemetry.tracer().is_on());
            end_spans(&telemetry, 3);
            let counts = telemetry.counts().clone();
            telemetry.shut_down().await;
            assert_eq!(collector.span_names(), ["send 0", "send 1", "send 2"], "{protocol:?}");
            assert_eq!(counts.spans(), Some(SpanCounts { exported: 3, ..SpanCounts::default() }));
            assert_eq!(counts.metrics(), None);
            let came = &collector.came()[0];
            // Neither decoded once more, nor there twice.
            assert_eq!(came.headers.get_all("x-token").iter().collect::<Vec<_>>(), ["PLANTED 50%25"]);
            let agent = came.headers["user-agent"].to_str().unwrap();
            assert!(agent.starts_with("audit-relay/"), "{agent}");
            let encoding = came.headers.get("content-encoding").or(came.headers.get("grpc-encoding"));
            assert_eq!(encoding.is_some(), gzip, "{protocol:?}");
            let of_one = &came.traces.resource_spans[0];
            let scope = of_one.scope_spans[0].scope.as_ref().unwrap();
            assert_eq!(
                (scope.name.as_str(), scope.version.as_str()),
                ("audit-relay", env!("CARGO_PKG_VERSION"))
            );
            let resource = of_one.resource.as_ref().unwrap();
            let mut keys: Vec<_> = resource.attributes.iter().map(|one| one.key.as_str()).collect();
            keys.sort_unstable();
            let sdk = ["telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version"];
            assert_eq!(keys, [&["service.name"][..], &sdk].concat());
            if protocol == OtlpProtocol::HttpProtobuf {
                assert_eq!(came.path, "/v1/traces");
                assert_eq!(came.headers["content-type"], "application/x-protobuf");
            }
        }
    }
}

#[tokio::test]
async fn they_do_not_wait_for_a_shutdown() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let telemetry = Telemetry::start(&traces(OtlpProtocol::HttpProtobuf, collector.address));
    end_spans(&telemetry, 1);
    collector.wait_for(1).await;
    telemetry.shut_down().await;
}

#[tokio::test]
async fn what_is_rejected_of_a_request_is_counted() {
    for protocol in BOTH {
        let collector = Collector::start(protocol, [Reply::Rejects(2)]).await;
        let telemetry = Telemetry::start(&traces(protocol, collector.address));
        end_spans(&telemetry, 5);
        collector.wait_for(1).await;
        let counts = telemetry.counts().clone();
        telemetry.shut_down().await;
        let counts = counts.spans().unwrap();
        assert_eq!((counts.exported, counts.rejected, all(counts)), (3, 2, 5), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_request_does_not_grow_beyond_what_collectors_take() {
    let collector = Collector::start(OtlpProtocol::HttpProtobuf, []).await;
    let mut settings = traces(OtlpProtocol::HttpProtobuf, collector.address);
    settings.queue.delay = LONG;
    let telemetry = Telemetry::start(&settings);
    let context =
        SpanContext::new(TraceId::from(1), SpanId::from(1), TraceFlags::SAMPLED, true, TraceState::default());
    let links = vec![Link::with_context(context); 1_000];
    let tracer = tracer(&telemetry);
    for _ in 0..80 {
        tracer.span_builder("send archive").with_links(links.clone()).start(&tracer).end();
    }
    let counts = telemetry.counts().clone();
    telemetry.shut_down().await;
    assert_eq!(counts.spans(), Some(SpanCounts { exported: 80, ..SpanCounts::default() }));
    let came = collector.came();
    assert!(came.len() > 1 && came.iter().all(|one| one.bytes < 4 << 20 && !one.spans().is_empty()));
    assert!(came.iter().flat_map(|one| one.spans()).all(|span| span.links.len() == 1_000));
}

#[tokio::test]
async fn grpc_by_tls_trusts_whom_it_is_told_to() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, &cert).unwrap();
    for (ca, exported) in [(Some(ca), 2), (None, 0)] {
        // As the relay does, before it makes a client.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(&cert, &key));
        let collector = Collector::with(OtlpProtocol::Grpc, [], Some(tls)).await;
        let mut settings = traces(OtlpProtocol::Grpc, collector.address);
        let signal = settings.traces.as_mut().unwrap();
        signal.endpoint = Secret::new(format!("https://{}", collector.address));
        signal.tls.ca = ca;
        let telemetry = Telemetry::start(&settings);
        end_spans(&telemetry, 2);
        let counts = telemetry.counts().clone();
        telemetry.shut_down().await;
        let counts = counts.spans().unwrap();
        assert_eq!((counts.exported, counts.export_failed), (exported, 2 - exported));
    }
}

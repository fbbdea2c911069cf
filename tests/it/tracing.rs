//! The relay's own traces and metrics, as a collector gets them: parents, links, attributes, and the contexts that
//! receivers get, whatever way an event takes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    Client, Collector, FakeDatadog, FakeSlack, Line, Receiver, Relay, Reply, Span, Workplace, ago,
    eventually, flag_line,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const CONTEXT: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

/// A relay that tails a file for a webhook with these keys.
fn tailing(receiver: &Receiver, keys: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
name: pod-1
data_dir: DIR/data
environments: {{live: [production]}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  siem:
    type: webhook
    url: '{}'
    retry: {{initial_backoff: 1ms, max_backoff: 20ms}}
    {keys}
routes:
  all: {{to: [siem]}}
",
        receiver.url("/hooks/s3cret-path")
    ));
    place
}

/// Somebody edits this flag.
fn edit(place: &Workplace, flag: &str) {
    place.append("audit.log", format!("{}\n", flag_line(flag, "")));
}

fn requests_below(collector: &Collector, send: &Span) -> Vec<Span> {
    eventually("requests of a delivery", || {
        let below: Vec<_> = collector.below(send).into_iter().filter(|span| span.name == "POST").collect();
        (!below.is_empty()).then_some(below)
    })
}

fn envelope(receiver: &Receiver) -> Value {
    receiver.wait_for(1)[0].envelopes()[0].clone()
}

#[test]
fn an_edit_is_a_trace_and_each_delivery_is_linked_to_it() {
    let (collector, receiver) = (Collector::start(), Receiver::start());
    let place = tailing(&receiver, "");
    let relay = collector.watch(&place, &[]);
    let line = Line::flag("updated", "dark mode", true, "").within("production").text();
    let line = line.trim_end();
    place.append("audit.log", format!("{line}\n"));
    let accept = collector.wait_for("accept flipt", 1).remove(0);
    let send = collector.wait_for("send siem", 1).remove(0);
    let post = requests_below(&collector, &send).remove(0);
    let told = envelope(&receiver);

    assert_eq!((accept.parent.as_str(), accept.links.len(), accept.is_error), ("", 0, false));
    let text = |key: &str| accept.attribute(key).as_str().unwrap_or_default().to_owned();
    assert_eq!(text("messaging.message.id"), told["id"].as_str().unwrap());
    assert_eq!(accept.attribute("flipt.audit.sequence"), &told["sequence"]);
    assert_eq!(text("flipt.audit.change_set"), told["change_set"].as_str().unwrap_or_default());
    let expected = [
        ("messaging.system", json!("flipt_audit")),
        ("messaging.operation.name", json!("accept")),
        ("messaging.operation.type", json!("create")),
        ("messaging.destination.name", json!("flipt")),
        ("messaging.message.body.size", json!(line.len())),
        ("feature_flag.key", json!("dark mode")),
        ("feature_flag.set.id", json!("production")),
        ("feature_flag.provider.name", json!("flipt")),
        ("flipt.audit.type", json!("flag")),
        ("flipt.audit.action", json!("updated")),
    ];
    for (key, value) in expected {
        assert_eq!(accept.attribute(key), &value, "{key}");
    }
    assert!(accept.attribute("audit_relay.commit_seconds").as_f64().unwrap() > 0.0);
    assert_eq!(accept.resource["service.name"], "audit-relay");
    assert_eq!(accept.resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(accept.resource["service.instance.id"], "pod-1");

    assert_eq!((send.parent.as_str(), &send.links[..]), ("", &[accept.context()][..]));
    assert_ne!(send.trace_id, accept.trace_id);
    let expected = [
        ("messaging.operation.name", json!("send")),
        ("messaging.destination.name", json!("siem")),
        ("messaging.message.id", told["id"].clone()),
        ("audit_relay.destination.type", json!("webhook")),
        ("audit_relay.outcome", json!("delivered")),
        ("audit_relay.attempt", json!(1)),
        ("flipt.audit.environment", json!("live")),
    ];
    for (key, value) in expected {
        assert_eq!(send.attribute(key), &value, "{key}");
    }
    for key in ["audit_relay.render_seconds", "audit_relay.wait_seconds", "audit_relay.commit_seconds"] {
        assert!(send.attribute(key).as_f64().unwrap() >= 0.0, "{key}");
    }
    assert!(send.start_unix_nanos <= post.start_unix_nanos && post.end_unix_nanos <= send.end_unix_nanos);

    let address = receiver.url("");
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let expected = [
        ("http.request.method", json!("POST")),
        ("http.response.status_code", json!(200)),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(port)),
        ("url.full", json!(format!("{address}/REDACTED"))),
        ("http.request.resend_count", Value::Null),
    ];
    for (key, value) in expected {
        assert_eq!(post.attribute(key), &value, "{key}");
    }
    let request = &receiver.received()[0];
    assert_eq!(request.header("traceparent"), Some(post.traceparent().as_str()));
    assert_eq!((request.header("tracestate"), request.header("baggage")), (None, None));
    assert!(!format!("{:?}", collector.spans()).contains("s3cret"));
    drop(relay);
}

#[test]
fn a_batch_is_one_delivery_linked_to_all_it_carries() {
    let (collector, receiver) = (Collector::start(), Receiver::start());
    let place = tailing(&receiver, "batch: {max_events: 3, timeout: 60s}");
    let _relay = collector.watch(&place, &[]);
    for key in ["a", "b", "c"] {
        edit(&place, key);
    }
    let accepted = collector.wait_for("accept flipt", 3);
    let send = collector.wait_for("send siem", 1).remove(0);
    let links: BTreeSet<_> = send.links.iter().cloned().collect();
    assert_eq!(links, accepted.iter().map(Span::context).collect());
    assert_eq!(accepted.iter().map(|span| &span.trace_id).collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(send.attribute("messaging.batch.message_count"), 3);
    assert_eq!(send.attribute("messaging.message.id"), &Value::Null);
    requests_below(&collector, &send);
}

#[test]
fn attempts_of_a_delivery_stand_in_one_trace() {
    let collector = Collector::start();
    let receiver = Receiver::scripted(|number, _| match number {
        0 => Reply::status(503),
        1 => Reply::Answer(429, vec![("retry-after", "0".to_owned())], String::new()),
        _ => Reply::status(200),
    });
    let place = tailing(&receiver, "");
    let relay = collector.watch(&place, &[]);
    edit(&place, "a");
    let mut sends = collector.wait_for("send siem", 3);
    sends.sort_by_key(|span| span.attribute("audit_relay.attempt").as_u64());
    let accept = collector.wait_for("accept flipt", 1).remove(0);
    let outcomes: Vec<_> = sends.iter().map(|span| span.attribute("audit_relay.outcome").clone()).collect();
    assert_eq!(outcomes, ["retry", "retry", "delivered"]);
    assert_eq!(sends.iter().map(|span| span.is_error).collect::<Vec<_>>(), [true, true, false]);
    for (number, send) in sends.iter().enumerate() {
        assert_eq!((&send.trace_id, &send.links[..]), (&sends[0].trace_id, &[accept.context()][..]));
        assert_eq!(send.parent, if number == 0 { "" } else { sends[0].span_id.as_str() });
        let post = requests_below(&collector, send).remove(0);
        let status = [503, 429, 200][number];
        assert_eq!(post.attribute("http.response.status_code"), status);
        let resent = if number == 0 { Value::Null } else { json!(number) };
        assert_eq!(post.attribute("http.request.resend_count"), &resent);
        let error = if status == 200 { Value::Null } else { json!(status.to_string()) };
        assert_eq!((post.attribute("error.type"), post.is_error), (&error, status != 200));
    }
    assert!(relay.log().contains(&format!("\"trace_id\":\"{}\"", sends[0].trace_id)), "{}", relay.log());
}

#[test]
fn what_never_answers_is_told_as_such() {
    let collector = Collector::start();
    let receiver = Receiver::scripted(|number, _| if number == 0 { Reply::Hang } else { Reply::status(200) });
    let place = tailing(&receiver, "timeout: 100ms");
    let _relay = collector.watch(&place, &[]);
    edit(&place, "a");
    collector.wait_for("send siem", 2);
    let failed: Vec<_> = collector.wait_for("POST", 2).into_iter().filter(|span| span.is_error).collect();
    assert_eq!(failed[0].attribute("error.type"), "timeout");
    assert_eq!(failed[0].attribute("http.response.status_code"), &Value::Null);
}

#[test]
fn a_replay_is_linked_to_the_same_acceptance() {
    let (collector, receiver) = (Collector::start(), Receiver::start());
    let place = tailing(&receiver, "");
    let _relay = collector.watch(&place, &[]);
    edit(&place, "a");
    let accept = collector.wait_for("accept flipt", 1).remove(0);
    collector.wait_for("send siem", 1);
    place.ask(&["replay", "--destination", "siem", "--since", "1h"]);
    let sends = collector.wait_for("send siem", 2);
    let replays: Vec<_> =
        sends.iter().filter(|span| *span.attribute("audit_relay.replay") == json!(true)).collect();
    assert_eq!(replays.len(), 1);
    assert_eq!(replays[0].links, [accept.context()]);
    assert!(sends.iter().all(|span| span.links == [accept.context()]));
    assert_ne!(sends[0].trace_id, sends[1].trace_id);
}

#[test]
fn a_restart_between_acceptance_and_delivery_breaks_no_link() {
    let collector = Collector::start();
    let is_up = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let up = std::sync::Arc::clone(&is_up);
    let receiver = Receiver::scripted(move |_, _| match up.load(std::sync::atomic::Ordering::SeqCst) {
        true => Reply::status(200),
        false => Reply::status(503),
    });
    let place = tailing(&receiver, "");
    let relay = collector.watch(&place, &[]);
    edit(&place, "a");
    let accept = collector.wait_for("accept flipt", 1).remove(0);
    receiver.wait_for(1);
    relay.kill();
    is_up.store(true, std::sync::atomic::Ordering::SeqCst);
    let _relay = collector.watch(&place, &[]);
    let delivered = eventually("the delivery after the restart", || {
        let mut spans = collector.spans().into_iter();
        spans.find(|span| *span.attribute("audit_relay.outcome") == json!("delivered"))
    });
    assert_eq!((delivered.name.as_str(), &delivered.links[..]), ("send siem", &[accept.context()][..]));
    assert_eq!(collector.wait_for("accept flipt", 1).len(), 1);
}

/// A relay that takes pushes, and hands them on as `destination` says.
fn taking(name: &str, believes: &str, destination: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
name: {name}
data_dir: DIR/data
sources:
  push: {{type: http, listen: '127.0.0.1:0', {believes}}}
destinations:
  out: {destination}
routes:
  all: {{to: [out]}}
"
    ));
    place
}

fn push(relay: &Relay, headers: &[(&str, &str)]) {
    let answered = Client::push(relay.listens("push"), headers, flag_line("a", ""));
    assert_eq!(answered.status, 200, "{}", answered.text());
}

#[test]
fn a_push_goes_on_with_the_trace_it_came_with() {
    let (collector, receiver) = (Collector::start(), Receiver::start());
    let place =
        taking("pod-1", "signing: none", &format!("{{type: webhook, url: '{}'}}", receiver.url("/hook")));
    let relay = collector.watch(&place, &[]);
    let traceparent = format!("00-{CONTEXT}-01");
    push(&relay, &[("traceparent", traceparent.as_str()), ("tracestate", "dd=s:1"), ("baggage", "user=ann")]);
    let accept = collector.wait_for("accept push", 1).remove(0);
    assert_eq!(format!("{}-{}", accept.trace_id, accept.parent), CONTEXT);
    assert_eq!(accept.attribute("messaging.operation.type"), "process");
    let send = collector.wait_for("send out", 1).remove(0);
    assert_eq!(send.links, [accept.context()]);
    // The delivery is another trace: its state is its own, and baggage never leaves.
    let request = &receiver.wait_for(1)[0];
    assert_eq!((request.header("tracestate"), request.header("baggage")), (None, None));
    // One that nobody keeps is told by nobody, and whoever is next learns so.
    let dropped = format!("00-{}-00", CONTEXT.replace('4', "5"));
    push(&relay, &[("traceparent", dropped.as_str())]);
    let requests = receiver.wait_for(2);
    assert!(requests[1].header("traceparent").unwrap().ends_with("-00"));
    relay.stop();
    assert_eq!(collector.wait_for("accept push", 1).len(), 1);
    assert_eq!(collector.wait_for("send out", 1).len(), 1);
}

#[test]
fn an_edit_is_one_trace_through_forwarder_and_hub() {
    let (collector, receiver) = (Collector::start(), Receiver::start());
    let hub_place = taking(
        "hub",
        &format!("signing: [{{scheme: standard_webhooks, secrets: [{SECRET}]}}]"),
        &format!("{{type: webhook, url: '{}'}}", receiver.url("/hook")),
    );
    let hub = collector.watch(&hub_place, &[]);
    let forwarder_place = Workplace::new();
    forwarder_place.configure(&format!(
        "
name: pod-1
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log, single_writer: false}}
destinations:
  hub: {{type: relay, url: 'http://{}', signing: [{{secrets: [{SECRET}]}}]}}
routes:
  all: {{to: [hub]}}
",
        hub.listens("push")
    ));
    let _forwarder = collector.watch(&forwarder_place, &[]);
    edit(&forwarder_place, "a");
    let first = collector.wait_for("accept flipt", 1).remove(0);
    let second = collector.wait_for("accept push", 1).remove(0);
    assert_eq!((&second.trace_id, &second.parent), (&first.trace_id, &first.span_id));
    assert_eq!(second.attribute("audit_relay.origin.relay"), "pod-1");
    assert_eq!(second.attribute("messaging.message.id"), first.attribute("messaging.message.id"));
    let (hop, out) = (collector.wait_for("send hub", 1), collector.wait_for("send out", 1));
    assert_eq!((&hop[0].links[..], &out[0].links[..]), (&[first.context()][..], &[second.context()][..]));
    assert_eq!(
        (&first.resource["service.instance.id"], &out[0].resource["service.instance.id"]),
        (&json!("pod-1"), &json!("hub"))
    );
}

#[test]
fn services_of_others_learn_of_no_trace() {
    let (collector, slack, datadog) = (Collector::start(), FakeSlack::start(), FakeDatadog::start());
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  slack: {{type: slack, webhook_url: '{}', group_wait: 0s}}
  datadog: {{type: datadog, endpoint: '{}', api_key: {}}}
routes:
  all: {{to: [slack, datadog]}}
",
        slack.webhook_url(),
        datadog.endpoint(),
        crate::support::datadog::API_KEY,
    ));
    let _relay = collector.watch(&place, &[]);
    place.append("audit.log", format!("{}\n", Line::flag("updated", "a", true, "").at(ago(0)).text()));
    for name in ["send slack", "send datadog"] {
        let send = collector.wait_for(name, 1).remove(0);
        assert_eq!(send.links.len(), 1, "{name}");
        assert!(!requests_below(&collector, &send).is_empty());
    }
    for request in slack.received().iter().chain(&datadog.received()) {
        let names: Vec<&String> = request.headers.keys().collect();
        let told =
            ["traceparent", "tracestate", "baggage"].iter().any(|name| request.headers.contains_key(*name));
        assert!(!told, "{names:?}");
    }
}

#[test]
fn without_an_endpoint_nothing_is_made_up() {
    let receiver = Receiver::start();
    let place = tailing(&receiver, "");
    let _relay = place.run();
    edit(&place, "a");
    let request = &receiver.wait_for(1)[0];
    assert_eq!(request.header("traceparent"), None);
    assert_eq!(request.envelopes()[0].get("traceparent"), None);
}

#[test]
fn the_standard_switches_are_heard() {
    let (collector, receiver) = (Collector::start(), Receiver::start());
    let place = tailing(&receiver, "");
    for (number, (name, value)) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ]
    .into_iter()
    .enumerate()
    {
        let relay = collector.watch(&place, &[(name, value)]);
        edit(&place, name);
        receiver.wait_for(number + 1);
        relay.stop();
        assert!(collector.spans().is_empty(), "{name}");
    }
    let relay = collector.watch(&place, &[("OTEL_PROPAGATORS", "none")]);
    edit(&place, "quiet");
    assert_eq!(receiver.wait_for(4)[3].header("traceparent"), None);
    collector.wait_for("send siem", 1);
    relay.stop();
}

#[test]
fn metrics_are_those_of_the_listener() {
    let (collector, receiver) = (Collector::start(), Receiver::start());
    let place = tailing(&receiver, "");
    let relay = collector.watch(&place, &[]);
    edit(&place, "a");
    receiver.wait_for(1);
    let told = eventually("metrics of the delivery", || {
        let all = collector.metrics();
        let last = all.last()?.clone();
        let delivered =
            last.iter().find(|metric| metric.name == "audit_relay_destination_delivered_records")?;
        format!("{delivered:?}").contains("AsInt(1)").then_some(last)
    });
    let names: BTreeSet<String> = told.iter().map(|metric| metric.name.clone()).collect();
    let text = crate::support::web::get(relay.listens("health"), "/metrics").body;
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let name = if kind == "counter" { name.trim_end_matches("_total") } else { name };
        assert!(names.contains(name), "{name} is not told by OTLP");
    }
}

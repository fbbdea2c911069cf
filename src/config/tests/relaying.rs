//! Relays that hand on to another.
use std::time::Duration;

use super::*;
use crate::config::plan::{DestinationKind, DestinationPlan, RelayPlan, SigningScheme};
use crate::event::RecordKind;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A forwarder whose destination `hub` has these keys.
fn forwarder(keys: &str) -> String {
    format!(
        "name: pod-1\n{SOURCES}destinations: {{hub: {{type: relay, {keys}}}}}\nroutes: {{r: {{to: hub}}}}\n"
    )
}

const SIGNED: &str = "url: https://hub.example.com, signing: [{secrets: [{env: S}]}]";

fn desk() -> Desk {
    Desk::new().variable("S", SECRET).variable("T", "t0ken-of-the-hub")
}

fn planned(yaml: &str) -> (DestinationPlan, RelayPlan) {
    let loaded = desk().load(yaml).unwrap();
    assert_eq!((loaded.notes, loaded.warnings), (vec![], vec![]), "{yaml}");
    let plan = loaded.plan.destinations["hub"].clone();
    let Ok(DestinationKind::Relay(relay)) = plan.kind.clone() else { panic!("{:?}", plan.kind) };
    (plan, *relay)
}

fn told(yaml: &str) -> Vec<String> {
    let loaded = desk().load(yaml).unwrap();
    loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
}

#[test]
fn defaults() {
    let (plan, relay) = planned(&forwarder(SIGNED));
    assert_eq!(
        (relay.name.as_str(), relay.webhook.url.expose()),
        ("pod-1", "https://hub.example.com/v1/events")
    );
    let [signing] = &relay.webhook.signing[..] else { panic!() };
    assert_eq!((signing.scheme, signing.secrets[0].expose()), (SigningScheme::StandardWebhooks, SECRET));
    assert_eq!((plan.batch.max_events, plan.batch.max_bytes), (200, 1 << 20));
    assert_eq!(plan.batch.timeout, Duration::from_millis(100));
    assert_eq!((plan.expire_after, plan.type_word), (None, "relay"));
    let shown = shown_defaults();
    let of_relay = shown.split("a_relay:").nth(1).unwrap();
    assert!(of_relay.contains("max_events: 200") && of_relay.contains("timeout: 100ms"), "{of_relay}");
}

#[test]
fn every_key_arrives() {
    let keys = "url: {env: U}, bearer: {env: T}, signing: [{scheme: flipt, secrets: [{env: S}]}], \
                batch: {max_events: 7, timeout: 3s, max_bytes: 2MiB}, tls: {ca: /ca.pem}, proxy: http://p.example.com";
    let (address, expected) = ("https://hub.example.com/in?q=1", "https://hub.example.com/in?q=1");
    let loaded = desk().variable("U", address).load(&forwarder(keys)).unwrap();
    let plan = &loaded.plan.destinations["hub"];
    let Ok(DestinationKind::Relay(relay)) = &plan.kind else { panic!() };
    assert_eq!(relay.webhook.url.expose(), expected);
    assert_eq!(relay.webhook.headers[0].1.expose(), "Bearer t0ken-of-the-hub");
    assert_eq!(relay.webhook.signing[0].scheme, SigningScheme::Flipt);
    assert_eq!((plan.batch.max_events, plan.batch.timeout), (7, Duration::from_secs(3)));
    assert_eq!(plan.tls.ca, Some("/ca.pem".into()));
    assert!(plan.proxy.is_some());
    let shown = format!("{plan:?}");
    assert!(!shown.contains("t0ken") && !shown.contains("whsec"), "{shown}");
}

#[test]
fn an_address_without_a_path_gets_one() {
    for (written, expected) in [
        ("https://hub.example.com", "https://hub.example.com/v1/events"),
        ("https://hub.example.com/", "https://hub.example.com/v1/events"),
        ("http://hub.flipt.svc:8787", "http://hub.flipt.svc:8787/v1/events"),
        ("https://hub.example.com/audit/v1/events", "https://hub.example.com/audit/v1/events"),
    ] {
        let (_, relay) = planned(&forwarder(&SIGNED.replace("https://hub.example.com", written)));
        assert_eq!(relay.webhook.url.expose(), expected);
    }
}

#[test]
fn a_changed_secret_is_another_receiver() {
    let of = |secret: &str| {
        let loaded = Desk::new().variable("S", secret).load(&forwarder(SIGNED)).unwrap();
        loaded.plan.destinations["hub"].fingerprint.clone()
    };
    assert_ne!(of(SECRET), of(&SECRET.replace('M', "N")));
}

#[test]
fn what_cannot_be() {
    let problem = |keys: &str| {
        let problems = desk().load(&forwarder(keys)).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{problems}");
        format!("{}: {}", problems.0[0].key, problems.0[0].message)
    };
    let redacted = problem(&format!("{SIGNED}, redact: {{drop: [actor.ip]}}"));
    assert!(
        redacted.starts_with("destinations.hub.redact: another relay gets the record as it is"),
        "{redacted}"
    );
    assert!(problem(&format!("{SIGNED}, encoding: array")).starts_with("destinations.hub.encoding: "));
    assert!(problem("bearer: {env: T}").starts_with("destinations.hub"), "an address is needed");
    let own = "name: a\nsources: {push: {type: http, listen: '127.0.0.1:8787', bearer: {env: T}}}\n\
               destinations: {hub: {type: relay, url: 'http://localhost:8787', bearer: {env: T}}}\nroutes: {r: {to: hub}}\n";
    let problems = desk().load(own).unwrap_err();
    assert!(problems.to_string().contains("`push`, a source of this very relay"), "{problems}");
}

#[test]
fn what_is_no_event_goes_along_whatever_routes_say() {
    let yaml = format!(
        "name: pod-1\n{SOURCES}destinations: {{hub: {{type: relay, {SIGNED}}}, other: {{type: relay, {SIGNED}}}, d: {{type: console}}}}\n\
         routes: {{r: {{when: {{types: flag}}, to: [hub, d]}}}}\n"
    );
    let plan = desk().load(&yaml).unwrap().plan;
    let names: Vec<&str> = plan.routes.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["r", "what is no event, for hub"], "nothing goes where no route leads");
    let further = &plan.routes.routes[1];
    assert_eq!(further.to, ["hub"]);
    assert_eq!(
        further.when.record,
        [RecordKind::Unparsed, RecordKind::Oversized, RecordKind::Gap, RecordKind::Act]
    );
}

#[test]
fn whoever_sends_should_be_known() {
    let bare = told(&forwarder("url: https://hub.example.com"));
    assert_eq!(
        bare,
        ["destinations.hub: nothing shows the other relay who sends: neither `signing` nor `bearer` is set"]
    );
    assert_eq!(told(&forwarder("url: http://127.0.0.1:8787")), [""; 0]);
    assert_eq!(told(&forwarder("url: https://hub.example.com, tls: {cert: /c.pem, key: /k.pem}")), [""; 0]);
    let clear = told(&forwarder("url: http://hub.example.com, bearer: {env: T}"));
    assert_eq!(clear, ["destinations.hub.url: `http`: the token crosses the network unencrypted"]);
}

#[test]
fn relays_that_hand_on_have_names_of_their_own() {
    let unnamed = forwarder(SIGNED).replace("name: pod-1\n", "");
    let [only] = &told(&unnamed)[..] else { panic!() };
    assert!(only.starts_with("destinations.hub: this relay has no `name` of its own"), "{only}");
    assert_eq!(told(&unnamed.replace("type: relay,", "type: relay, discard: true,")), [""; 0]);
}

#[test]
fn a_relay_that_sees_a_part_should_not_tell_what_was_before() {
    let with = |source: &str, others: &str, to: &str| {
        told(&format!(
            "name: pod-1\nsources: {{flipt: {{type: file, path: /var/log/flipt/audit.log{source}}}}}\n\
             destinations: {{hub: {{type: relay, {SIGNED}}}{others}}}\nroutes: {{r: {{to: [hub{to}]}}}}\n"
        ))
    };
    let slack = ", chat: {type: slack, webhook_url: {env: U}}";
    let siem = ", siem: {type: webhook, url: https://siem.example.com, format: FORMAT}";
    let siem = |format: &str| siem.replace("FORMAT", format);
    assert_eq!(with("", "", ""), [""; 0]);
    assert_eq!(with("", &siem("flipt"), ", siem"), [""; 0], "what Flipt says has no before");
    assert_eq!(with("", ", d: {type: console}", ", d"), [""; 0]);
    let [only] = &with("", &siem("envelope"), ", siem")[..] else { panic!() };
    assert!(
        only.starts_with(
            "sources.flipt: records are handed on to `hub`, and `siem` tells here what was before"
        ),
        "{only}"
    );
    let both = format!("{slack}{}", siem("cloudevents"));
    let desk = desk().variable("U", "https://hooks.slack.com/services/T/B/x");
    let yaml = format!(
        "name: pod-1\n{SOURCES}destinations: {{hub: {{type: relay, {SIGNED}}}{both}}}\nroutes: {{r: {{to: [hub, chat, siem]}}}}\n"
    );
    let warnings = desk.load(&yaml).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("`chat`, `siem` tell here"), "{}", warnings[0].message);
    for thought in [", single_writer: true", ", single_writer: false"] {
        assert_eq!(with(thought, &siem("envelope"), ", siem"), [""; 0]);
    }
}

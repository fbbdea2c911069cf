//! What is said about a Datadog destination.
use std::time::Duration;

use super::*;
use crate::config::plan::{DatadogApi, DatadogPlan, DestinationKind};

const OWNERS: &str = "owners: [{flags: 'pay-*', team: payments, services: [checkout-api]}]\n";

fn yaml(keys: &str) -> String {
    let key = "api_key: {env: KEY}";
    format!(
        "{SOURCES}environments: {{production: prod}}\n{OWNERS}destinations: {{d: {{type: datadog, {key}, {keys}}}}}\nroutes: {{r: {{to: d}}}}\n"
    )
}

fn desk() -> Desk {
    Desk::new().variable("KEY", "0123456789abcdef").variable("APP", "fedcba9876543210")
}

fn loaded(keys: &str) -> Loaded {
    desk().load(&yaml(keys)).unwrap_or_else(|problems| panic!("{keys}: {problems}"))
}

fn datadog(keys: &str) -> DatadogPlan {
    match loaded(keys).plan.destinations["d"].kind.clone() {
        Ok(DestinationKind::Datadog(plan)) => *plan,
        other => panic!("{other:?}"),
    }
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
}

#[test]
fn each_site_has_its_addresses() {
    let url = |keys: &str| datadog(keys).url.expose().to_owned();
    assert_eq!(url(""), "https://event-management-intake.datadoghq.com/api/v2/events");
    assert_eq!(url("api: v1"), "https://api.datadoghq.com/api/v1/events");
    for site in ["us3.datadoghq.com", "us5.datadoghq.com", "ap1.datadoghq.com", "ap2.datadoghq.com"] {
        let expected = format!("https://event-management-intake.{site}/api/v2/events");
        assert_eq!(url(&format!("site: {site}")), expected);
    }
    assert_eq!(url("site: datadoghq.eu"), "https://event-management-intake.datadoghq.eu/api/v2/events");
    for site in ["ddog-gov.com", "us2.ddog-gov.com"] {
        let plan = datadog(&format!("site: {site}"));
        assert_eq!(plan.api, DatadogApi::V1, "no Change Tracking there");
        assert_eq!(plan.url.expose(), format!("https://api.{site}/api/v1/events"));
    }
    assert_eq!(
        url("endpoint: https://events.example.com/dd/"),
        "https://events.example.com/dd/api/v2/events"
    );
}

#[test]
fn keys_and_defaults_arrive() {
    let plan = datadog("");
    assert_eq!((plan.site, plan.api, plan.denied), ("datadoghq.com", DatadogApi::V2, false));
    assert_eq!(plan.api_key.expose(), "0123456789abcdef");
    assert!(plan.app_key.is_none() && !plan.send_with_current_time);
    assert_eq!(plan.group_wait, Duration::from_secs(15));
    let keys = "app_key: {env: APP}, tags: [region:eu], services: web, env: {production: prod}, denied: true, group_wait: 1m";
    let plan = datadog(keys);
    assert_eq!(plan.app_key.as_ref().unwrap().expose(), "fedcba9876543210");
    assert_eq!(
        (plan.tags.as_slice(), plan.services.as_slice()),
        (&["region:eu".to_owned()][..], &["web".to_owned()][..])
    );
    assert_eq!((plan.env["production"].as_str(), plan.denied, plan.group_wait.as_secs()), ("prod", true, 60));
    assert!(!format!("{plan:?}").contains("fedcba"));
}

#[test]
fn events_expire_before_datadog_refuses_them_unless_they_are_sent_with_the_current_time() {
    let expires =
        |keys: &str| loaded(keys).plan.destinations["d"].expire_after.map(|after| after.as_secs() / 3_600);
    assert_eq!(expires(""), Some(17));
    assert_eq!(expires("send_with_current_time: true"), Some(7 * 24));
    assert_eq!(expires("send_with_current_time: true, expire_after: 2h"), Some(2));
}

#[test]
fn what_datadog_would_not_take_as_written_is_told_with_what_it_would() {
    for (keys, expected) in [
        (
            "tags: Region:EU",
            "destinations.d.tags[0]: a tag that Datadog would store otherwise; expected `region:eu`",
        ),
        ("tags: [a, 1x]", "destinations.d.tags[1]: a tag that Datadog would store otherwise; expected `x`"),
        ("tags: '42:'", "expected a letter first, then letters, digits and `_-:./`"),
        (
            "services: [web, Checkout API]",
            "destinations.d.services[1]: the name of a service that Datadog would store otherwise; expected `checkout_api`",
        ),
        (
            "env: {production: Prod!}",
            "destinations.d.env.production: a tag's value that Datadog would store otherwise; expected `prod_`",
        ),
        ("group_wait: 2h", "destinations.d.group_wait: too long; expected at most `1h`"),
        ("batch: {max_events: 10}", "destinations.d.batch: Datadog takes one event a request"),
        (
            "endpoint: https://api.datadoghq.eu/api/v2/events",
            "destinations.d.endpoint: an address with the path of the API",
        ),
        ("site: datadoghq.de", "expected `datadoghq.com`"),
        ("site: eu1", "did you mean `datadoghq.eu`?"),
        ("site: EU", "did you mean `datadoghq.eu`?"),
        ("site: us1", "did you mean `datadoghq.com`?"),
        ("site: us3", "did you mean `us3.datadoghq.com`?"),
        ("site: app.datadoghq.com", "did you mean `datadoghq.com`?"),
        (
            "tags: ['Region:EU', '', 1abc]",
            "destinations.d.tags[2]: a tag that Datadog would store otherwise; expected `abc`",
        ),
        (
            "tags: ['Region:EU', '', 1abc]",
            "destinations.d.tags[1]: a tag that Datadog would store otherwise; expected a letter",
        ),
        ("tags: 'a b'", "destinations.d.tags[0]: a tag that Datadog would store otherwise; expected `a_b`"),
        (
            "tags: ['Env:prod']",
            "destinations.d.tags[0]: a tag that the relay sets itself; expected `env: {environment: name}` of this destination",
        ),
        (
            "tags: ['service:web']",
            "tags[0]: a tag that the relay sets itself; expected `services` of this destination or of `owners`",
        ),
        ("tags: [a, 'team:x']", "tags[1]: a tag that the relay sets itself; expected the `team` of `owners`"),
        ("tags: ['turned:off']", "tags[0]: a tag that the relay sets itself; expected a key of your own"),
        (
            "expire_after: 15s",
            "destinations.d.expire_after: not longer than a message may wait for others (15s)",
        ),
        (
            "expire_after: 1m, group_wait: 1m",
            "destinations.d.expire_after: not longer than a message may wait for others (1m)",
        ),
        ("api: v3", "not a word that is known here; expected `v1` or `v2`"),
    ] {
        let told = desk().problems(&yaml(keys));
        assert!(told.contains(expected), "{keys}: {told}");
    }
    let secret =
        desk().variable("URL", "https://u:p@events.example.com/?k=v").problems(&yaml("endpoint: {env: URL}"));
    assert!(secret.contains("an address with a query") && !secret.contains("k=v"), "{secret}");
}

#[test]
fn what_is_likely_not_meant_is_remarked() {
    for (keys, expected) in [
        (
            "expire_after: 18h",
            "destinations.d.expire_after: Datadog takes nothing older than 18 h: what is older than 17 h expires anyway, without `send_with_current_time: true`",
        ),
        (
            "expire_after: never",
            "destinations.d.expire_after: Datadog takes nothing older than 18 h: what is older than 17 h expires anyway, without `send_with_current_time: true`",
        ),
        (
            "env: {producton: prod}",
            "destinations.d.env.producton: no such environment; did you mean `production`?",
        ),
        (
            "site: ddog-gov.com, api: v2",
            "destinations.d.api: Change Tracking, which `v2` is for, is not supported on this site",
        ),
        (
            "endpoint: http://events.example.com",
            "destinations.d.endpoint: `http`: the keys, and who changed what, cross the network unencrypted",
        ),
    ] {
        assert_eq!(warnings(&loaded(keys)), [expected], "{keys}");
    }
    for quiet in [
        "",
        "endpoint: http://127.0.0.1:4318",
        "endpoint: 'http://[::1]:1'",
        "endpoint: http://localhost:1",
        "site: ddog-gov.com",
        "expire_after: 17h",
        "expire_after: never, send_with_current_time: true",
        "tags: [env, 'environment:x']",
    ] {
        assert_eq!(warnings(&loaded(quiet)), [""; 0], "{quiet}");
    }
}

#[test]
fn a_change_that_shows_on_no_service_is_remarked_once() {
    let without = |keys: &str| {
        let yaml = yaml(keys).replace(", services: [checkout-api]", "");
        warnings(&desk().load(&yaml).unwrap())
    };
    let said = without("");
    assert!(
        matches!(said.as_slice(), [only] if only.starts_with("destinations.d: no service is known, and Change Tracking")),
        "{said:?}"
    );
    assert_eq!(without("services: web"), [""; 0]);
    assert!(desk().problems(&yaml("services: []")).contains("destinations.d.services: an empty list"));
    assert_eq!(without("api: v1"), [""; 0]);
    let two = yaml("")
        .replace("checkout-api", "Checkout API")
        .replace("}\nroutes", ", e: {type: datadog, api_key: {env: KEY}}}\nroutes");
    let two = two.replace("to: d", "to: [d, e]");
    assert_eq!(
        warnings(&desk().load(&two).unwrap()),
        ["owners[0].services[0]: Datadog knows this service as `checkout_api`, and is told so"]
    );
}

#[test]
fn what_cannot_be_a_key_is_told_and_not_shown() {
    for key in ["0123456789abcdef 0123456789abcdef", "0123\u{7}abcdef", "0123\nabcdef", "schlüssel-0123"] {
        for (name, keys) in [("KEY", ""), ("APP", "app_key: {env: APP}")] {
            let other = if name == "KEY" { "APP" } else { "KEY" };
            let desk = Desk::new().variable(name, key).variable(other, "fedcba9876543210");
            let told = desk.problems(&yaml(keys));
            let place = if name == "KEY" { "destinations.d.api_key" } else { "destinations.d.app_key" };
            assert!(told.contains(place) && told.contains("characters that no key has"), "{told}");
            assert!(!told.contains("0123"), "{told}");
        }
    }
}

//! Tags, titles and rows that overlays, monitors and queries rely on.

use super::super::telling::order;
use super::*;

fn tags(event: &Value) -> Vec<&str> {
    event["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect()
}

/// The values of one key.
fn of<'v>(event: &'v Value, key: &str) -> Vec<&'v str> {
    tags(event).into_iter().filter_map(|tag| tag.strip_prefix(key)?.strip_prefix(':')).collect()
}

fn event(deliveries: &[Delivery]) -> Value {
    attributes(&plan(DatadogApi::V2), deliveries)
}

fn set(mut deliveries: Vec<Delivery>) -> Vec<Delivery> {
    deliveries.iter_mut().for_each(|delivery| delivery.record.change_set = Some("cs_1".into()));
    deliveries
}

fn switched(is_on: bool) -> Delivery {
    told("flag", "updated", &flag(is_on), &seen(1, &flag(!is_on)))
}

/// Monitors and overlays ask for `turned` and `live`: what is told once more fires nothing.
#[test]
fn what_is_told_once_more_says_so() {
    let change = [switched(true)];
    for api in [DatadogApi::V1, DatadogApi::V2] {
        let context = RenderContext { now: time("2026-11-22T14:15:00Z"), replay: true, ..context(&change) };
        let mut rendered = Datadog::new(plan(api)).render(&change, &context);
        let Request::Http(http) = rendered.requests.remove(0).request else { panic!() };
        let header = http.headers.iter().find(|(name, _)| name == "audit-relay-replay");
        assert_eq!(header.unwrap().1.expose(), "true");
        let mut body: Value = serde_json::from_slice(&http.body).unwrap();
        judge(&validator(api), &body);
        let event = if api == DatadogApi::V2 { body["data"]["attributes"].take() } else { body };
        assert_eq!(event["title"], "Told once more: Ann turned checkout ON in production");
        assert_eq!(of(&event, "replay"), ["true"]);
        assert!(of(&event, "turned").is_empty() && of(&event, "live").is_empty(), "{event:#}");
        if api == DatadogApi::V2 {
            assert_eq!(event["attributes"]["change_metadata"]["flipt"]["replay"], true);
        }
    }
    let event = event(&change);
    assert!(of(&event, "replay").is_empty());
    assert_eq!(of(&event, "turned"), ["on"]);
    assert_eq!(event["attributes"]["change_metadata"]["flipt"].get("replay"), None);
}

#[test]
fn what_comes_back_was_turned_both_ways_and_has_no_values() {
    let back = set(vec![switched(false), switched(true)]);
    let event = event(&back);
    assert_eq!(of(&event, "turned"), ["on", "off"], "{}", event["title"]);
    assert_eq!(event["attributes"].get("prev_value"), None, "{event:#}");
    assert_eq!(event["attributes"].get("new_value"), None);
    assert!(event["message"].as_str().unwrap().contains("Enabled: on → off"));
    let thrice = self::event(&set(vec![switched(true), switched(false), switched(true)]));
    assert_eq!(of(&thrice, "turned"), ["on", "off"], "{}", thrice["title"]);
    assert_eq!(thrice["attributes"]["new_value"], json!({"enabled": true}));
}

#[test]
fn a_flag_is_not_turned_off_where_a_rollout_of_the_same_story_gives_true() {
    let off = || switched(false);
    let more = told("rollout", "updated", &share(50.0), &seen(1, &share(10.0)));
    assert_eq!(of(&event(&set(vec![off(), more])), "turned"), [""; 0]);
    let to_beta = json!({"description": "", "flag_key": "checkout", "id": "r1", "namespace_key": "production",
        "rank": 1, "segment": {"key": "beta", "value": true}});
    let beta = told("rollout", "created", &to_beta, &created());
    assert_eq!(of(&event(&set(vec![off(), beta])), "turned"), [""; 0]);
    let none = told("rollout", "updated", &share(0.0), &seen(1, &share(10.0)));
    assert_eq!(of(&event(&set(vec![off(), none])), "turned"), ["off"]);
    let gone = told("rollout", "deleted", &share(10.0), &seen(1, &share(10.0)));
    assert_eq!(of(&event(&set(vec![off(), gone])), "turned"), ["off"]);
    assert_eq!(of(&event(&[off()]), "turned"), ["off"]);
}

#[test]
fn kinds_of_change_can_be_asked_for() {
    let kind = |delivery: Delivery| of(&event(&[delivery]), "kind").join(" ");
    assert_eq!(kind(switched(true)), "behaviour");
    let mut renamed = flag(true);
    renamed["name"] = "New checkout".into();
    assert_eq!(kind(told("flag", "updated", &renamed, &seen(1, &flag(true)))), "text");
    let token = json!({"io.flipt.auth.token.name": "ci"});
    assert_eq!(kind(told("token", "created", &token, &created())), "access");
    assert_eq!(kind(all().into_iter().find(is_denied).unwrap()), "access");
}

#[test]
fn what_changed_is_tagged_without_noise() {
    let change = |noun: &str, action: &str, payload: &Value, known: &Known| {
        let event = event(&[told(noun, action, payload, known)]);
        of(&event, "change").join(" ")
    };
    assert_eq!(change("flag", "created", &flag(true), &created()), "created");
    assert_eq!(change("flag", "deleted", &flag(true), &seen(1, &flag(true))), "deleted");
    assert_eq!(change("flag", "updated", &flag(true), &seen(1, &flag(false))), "enabled");
    assert_eq!(change("rollout", "created", &share(10.0), &created()), "rollout");
    assert_eq!(change("rollout", "deleted", &share(10.0), &seen(1, &share(10.0))), "rollout");
    assert_eq!(change("rollout", "updated", &share(50.0), &seen(1, &share(10.0))), "rollout threshold");
    let token = json!({"io.flipt.auth.token.name": "ci", "io.flipt.auth.token.namespace": "default"});
    assert_eq!(change("token", "created", &token, &created()), "created");
    for delivery in all() {
        for body in bodies(render(&plan(DatadogApi::V2), &[delivery])) {
            let event = &body["data"]["attributes"];
            assert!(!tags(event).iter().any(|tag| tag.contains("io.flipt.auth")), "{event:#}");
        }
    }
    let reordered = event(&[order(&[("r1", Some(2)), ("r2", Some(1))], "rule")]);
    assert!(of(&reordered, "change").contains(&"rule"), "{reordered:#}");
}

#[test]
fn rows_say_what_is_known_to_have_been_nothing() {
    let line = |action: &str, payload: &Value, known: &Known| {
        let event = event(&[told("flag", action, payload, known)]);
        let message = event["message"].as_str().unwrap().to_owned();
        message.lines().find_map(|line| line.strip_prefix("14:14:02Z ").map(str::to_owned)).unwrap()
    };
    let mut described = flag(true);
    described["description"] = "PAY-481".into();
    assert_eq!(line("updated", &described, &seen(1, &flag(true))), "Description: none → PAY-481");
    assert_eq!(line("updated", &flag(true), &seen(1, &described)), "Description: PAY-481 → none");
    assert_eq!(line("created", &flag(true), &created()), "Enabled: on");
    assert_eq!(line("deleted", &flag(true), &seen(1, &flag(true))), "Enabled: was on");
}

#[test]
fn what_is_deleted_has_no_page_in_flipt() {
    let deleted = || told("flag", "deleted", &flag(true), &seen(1, &flag(true)));
    let has_page = |deliveries: Vec<Delivery>| {
        let event = event(&set(deliveries));
        let is_linked = event["message"].as_str().unwrap().contains("Open flag");
        assert_eq!(event["attributes"]["change_metadata"].get("resource_link").is_some(), is_linked);
        is_linked
    };
    assert!(has_page(vec![switched(true)]));
    assert!(!has_page(vec![deleted()]));
    assert!(!has_page(vec![switched(false), deleted()]));
    assert!(has_page(vec![deleted(), told("flag", "created", &flag(true), &created())]));
}

#[test]
fn a_test_says_that_nothing_was_changed() {
    let mut delivery = told("flag", "updated", &flag(false), &seen(1, &flag(true)));
    delivery.record.source = "send-test".into();
    delivery.record.epoch = "send-test".into();
    for api in [DatadogApi::V1, DatadogApi::V2] {
        let mut body = body(&plan(api), std::slice::from_ref(&delivery));
        judge(&validator(api), &body);
        let event = if api == DatadogApi::V2 { body["data"]["attributes"].take() } else { body };
        assert_eq!(event["title"], "A test of audit-relay: nothing was changed");
        let expected =
            ["env:prod", "source:flipt", "region:eu", "test:true", "actor_kind:person", "service:web-store"];
        assert_eq!(tags(&event), expected);
        assert!(!event.to_string().contains("://"), "{event:#}");
        let text = event.get("message").or_else(|| event.get("text")).unwrap().as_str().unwrap();
        assert!(text.contains("14:14:02Z Sent by audit-relay send-test"), "{text}");
        assert!(!text.contains("Enabled") && event["attributes"].get("new_value").is_none(), "{event:#}");
    }
}

#[test]
fn all_that_are_told_are_named() {
    let deliveries = set((0..200).map(|number| switched(number % 2 == 0)).collect());
    let event = event(&deliveries);
    let flipt = &event["attributes"]["change_metadata"]["flipt"];
    assert_eq!((flipt["event_ids"].as_array().unwrap().len(), &flipt["events"]), (200, &json!(200)));
}

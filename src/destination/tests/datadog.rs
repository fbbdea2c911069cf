//! What Datadog is sent: golden bodies of all there is to tell, judged by Datadog's own schemas; and what no event
//! may do.

mod answers;
pub(super) mod hostile;
mod tags;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::telling::{all, created, flag, late, seen, share, stories, told};
use super::{act, context, gap, golden, oversized, time, unparsed};
use crate::config::plan::{DatadogApi, DatadogPlan, LinkPlan, LinksPlan, Surroundings};
use crate::config::secret::Secret;
use crate::destination::datadog::Datadog;
use crate::destination::{Delivery, Destination, Grouping, RenderContext, Rendered, Request};
use crate::event::{Known, Several};
use crate::routing::{Owner, Owners, Pattern};

fn owner(flags: &str, segments: &str, team: &str, services: &[&str]) -> Owner {
    let patterns = |written: &str| match written {
        "" => Vec::new(),
        written => vec![Pattern::new(written.to_owned())],
    };
    Owner {
        flags: patterns(flags),
        segments: patterns(segments),
        namespaces: Vec::new(),
        team: team.into(),
        slack: None,
        services: services.iter().map(|service| Arc::from(*service)).collect(),
    }
}

/// Two teams: one owns the flag of most samples, one the segment.
fn around() -> Surroundings {
    let owners = Owners(vec![
        owner("checkout*", "", "payments", &["checkout-api", "storefront-web"]),
        owner("", "beta", "growth", &[]),
    ]);
    let links = LinksPlan {
        flipt: Some("https://flipt.example.com".into()),
        instance: None,
        templates: vec![LinkPlan {
            title: "Runbook".into(),
            url: "https://wiki.example.com/{{ team }}/{{ key }}".into(),
        }],
        ..LinksPlan::default()
    };
    Surroundings { owners: Arc::new(owners), links: Arc::new(links) }
}

fn plan(api: DatadogApi) -> DatadogPlan {
    DatadogPlan {
        site: "datadoghq.eu",
        api,
        url: Arc::new(Secret::new("https://event-management-intake.datadoghq.eu/api/v2/events")),
        api_key: Secret::new("0123456789abcdef0123456789abcdef"),
        app_key: None,
        tags: vec!["region:eu".into()],
        services: vec!["web-store".into()],
        env: [("production".to_owned(), "prod".to_owned())].into(),
        denied: true,
        send_with_current_time: false,
        group_wait: Duration::from_secs(15),
        around: around(),
    }
}

/// The samples of telling as change sets.
fn change_sets() -> Vec<(&'static str, Vec<Delivery>)> {
    let mut stories = stories();
    for delivery in stories.iter_mut().flat_map(|(_, deliveries)| deliveries) {
        delivery.record.change_set = Some("cs_00000000000000000000000000".into());
    }
    stories
}

fn render(plan: &DatadogPlan, deliveries: &[Delivery]) -> Rendered {
    render_at(plan, deliveries, "2026-11-22T14:15:00Z")
}

fn render_at(plan: &DatadogPlan, deliveries: &[Delivery], now: &str) -> Rendered {
    let context = RenderContext { now: time(now), ..context(deliveries) };
    Datadog::new(plan.clone()).render(deliveries, &context)
}

fn bodies(rendered: Rendered) -> Vec<Value> {
    let body = |request: Request| match request {
        Request::Http(http) => serde_json::from_slice(&http.body).unwrap(),
        other => panic!("{other:?}"),
    };
    rendered.requests.into_iter().map(|outbound| body(outbound.request)).collect()
}

/// The only body that comes of it.
fn body(plan: &DatadogPlan, deliveries: &[Delivery]) -> Value {
    let mut bodies = bodies(render(plan, deliveries));
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    bodies.remove(0)
}

fn attributes(plan: &DatadogPlan, deliveries: &[Delivery]) -> Value {
    body(plan, deliveries)["data"]["attributes"].take()
}

fn validator(api: DatadogApi) -> jsonschema::Validator {
    let version = if api == DatadogApi::V1 { 1 } else { 2 };
    let path = format!(
        "{}/tests/schemas/datadog/dd-v{version}-event-create-request.strict.schema.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let schema = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn judge(validator: &jsonschema::Validator, body: &Value) {
    let errors: Vec<String> =
        validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}\n{body:#}");
}

/// All that is told, single and in change sets.
fn groups() -> Vec<(String, Vec<Delivery>)> {
    let single = all().into_iter().map(|delivery| (String::new(), vec![delivery]));
    let sets = change_sets().into_iter().map(|(title, deliveries)| (title.to_owned(), deliveries));
    single.chain(sets).collect()
}

/// A body with a line for each thing that it says.
fn readable(body: &Value) -> String {
    let lines = |object: &Value, indent: &str| {
        let entry = |(key, value): (&String, &Value)| format!("{indent}{}: {value}", json!(key));
        object.as_object().unwrap().iter().map(entry).collect::<Vec<_>>().join(",\n")
    };
    let mut event = body["data"]["attributes"].clone();
    let inner = event["attributes"].take();
    event.as_object_mut().unwrap().remove("attributes");
    let (event, inner) = (lines(&event, "  "), lines(&inner, "    "));
    let whole = format!(
        "{{\"data\": {{\"type\": \"event\", \"attributes\": {{\n{event},\n  \"attributes\": {{\n{inner}}}}}}}}}"
    );
    assert_eq!(&serde_json::from_str::<Value>(&whole).unwrap(), body);
    whole
}

/// `UPDATE_GOLDEN=1` writes the files anew; read them before you commit them.
#[test]
fn every_event_is_as_it_was_read() {
    let (mut two, mut one) = (Vec::new(), String::new());
    let (judge_two, judge_one) = (validator(DatadogApi::V2), validator(DatadogApi::V1));
    for (title, deliveries) in groups() {
        for body in bodies(render(&plan(DatadogApi::V2), &deliveries)) {
            judge(&judge_two, &body);
            two.push(readable(&body));
        }
        for body in bodies(render(&plan(DatadogApi::V1), &deliveries)) {
            judge(&judge_one, &body);
            let (said, text) = (body["title"].as_str().unwrap(), body["text"].as_str().unwrap());
            let mut rest = body.clone();
            rest.as_object_mut().unwrap().retain(|key, _| key != "title" && key != "text");
            let heading = if title.is_empty() { String::new() } else { format!("# {title}\n") };
            one += &format!("{heading}{said}\n{text}\n{rest}\n\n");
        }
    }
    golden("datadog.json", &format!("[\n{}\n]\n", two.join(",\n")));
    golden("datadog_v1.txt", &one);
}

#[test]
fn what_is_grouped_and_how_long_it_waits() {
    let limits = Datadog::new(plan(DatadogApi::V2)).limits();
    assert_eq!((limits.grouping, limits.wait.as_secs()), (Grouping::ChangeSet, 15));
    assert_eq!(limits.max_event_age, Some(Duration::from_secs(17 * 3_600)));
    let plan = DatadogPlan { send_with_current_time: true, ..plan(DatadogApi::V2) };
    assert_eq!(Datadog::new(plan).limits().max_event_age, None);
}

#[test]
fn one_change_set_is_one_event_with_all_its_members() {
    let on = told("flag", "updated", &flag(true), &seen(1, &flag(false)));
    let half = told("rollout", "updated", &share(50.0), &seen(1, &share(10.0)));
    let other = told("flag", "created", &flag(true), &created());
    let set = |mut delivery: Delivery| {
        delivery.record.change_set = Some("cs_1".into());
        delivery
    };
    let deliveries = [set(on), other, set(half)];
    let rendered = render(&plan(DatadogApi::V2), &deliveries);
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.record.id).collect();
    let members: Vec<_> = rendered.requests.iter().map(|outbound| outbound.members.clone()).collect();
    assert_eq!(members, [vec![ids[0], ids[2]], vec![ids[1]]]);
    let event = bodies(rendered)[0]["data"]["attributes"].take();
    assert_eq!(event["title"], "Ann turned checkout ON in production · rollout 10 % → 50 %");
    assert_eq!(event["attributes"]["prev_value"], json!({"enabled": false, "rollout_percentage": 10}));
    assert_eq!(event["attributes"]["new_value"], json!({"enabled": true, "rollout_percentage": 50}));
    let metadata = &event["attributes"]["change_metadata"]["flipt"];
    assert_eq!(metadata["event_ids"], json!([ids[0], ids[2]]));
    assert_eq!(metadata["change_set"], "cs_1");
    let tags = event["tags"].as_array().unwrap();
    for tag in ["change:enabled", "change:rollout", "env:prod", "service:checkout-api", "flag:checkout"] {
        assert!(tags.contains(&json!(tag)), "{tag}: {tags:?}");
    }
}

#[test]
fn what_a_destination_leaves_out() {
    let same = told("flag", "updated", &flag(true), &seen(1, &flag(true)));
    let denied = all().into_iter().find(is_denied).unwrap();
    let deliveries = [same, denied, act(), gap()];
    let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.record.id).collect();
    let mut plan = plan(DatadogApi::V2);
    let rendered = render(&plan, &deliveries);
    assert_eq!(rendered.left_out, [ids[0], ids[2]], "nothing changed; an act of an operator");
    plan.denied = false;
    let rendered = render(&plan, &deliveries);
    assert_eq!(rendered.left_out, [ids[0], ids[1], ids[2]]);
    assert!(rendered.unrenderable.is_empty());
    assert_eq!(bodies(rendered)[0]["data"]["attributes"]["category"], "alert");
}

fn is_denied(delivery: &Delivery) -> bool {
    String::from_utf8_lossy(&delivery.record.original).contains("\"denied\"")
}

#[test]
fn what_tells_of_no_change_is_an_alert() {
    for (delivery, status, priority, tag) in [
        (gap(), "error", "3", "record:gap"),
        (unparsed(b"{\"type\":\"flag\""), "warn", "4", "record:unparsed"),
        (oversized(), "warn", "4", "record:oversized"),
        (all().into_iter().find(is_denied).unwrap(), "warn", "4", "flipt_status:denied"),
    ] {
        let event = attributes(&plan(DatadogApi::V2), std::slice::from_ref(&delivery));
        assert_eq!(event["category"], "alert");
        assert_eq!(event["attributes"]["status"], status);
        assert_eq!(event["attributes"]["priority"], priority);
        assert!(event["tags"].as_array().unwrap().contains(&json!(tag)), "{}", event["tags"]);
        let one = body(&plan(DatadogApi::V1), &[delivery]);
        assert_eq!(one["alert_type"], if status == "error" { "error" } else { "warning" });
    }
}

#[test]
fn several_refused_attempts_of_one_actor_are_one_alert() {
    let denied = all().into_iter().find(is_denied).unwrap();
    let event = attributes(&plan(DatadogApi::V2), &[denied.clone(), denied]);
    assert!(event["title"].as_str().unwrap().starts_with("Ann was refused 2 times"), "{event:#}");
    assert!(event["aggregation_key"].as_str().unwrap().starts_with("flipt:denied:"));
}

#[test]
fn times_are_those_of_the_change() {
    let change = [told("flag", "updated", &flag(true), &seen(1, &flag(false)))];
    let (two, one) = (plan(DatadogApi::V2), plan(DatadogApi::V1));
    let at = |plan: &DatadogPlan, now: &str| bodies(render_at(plan, &change, now)).remove(0);
    let event = |now: &str, plan: &DatadogPlan| at(plan, now)["data"]["attributes"].take();
    for now in
        ["2026-11-22T14:15:00Z", "2026-11-23T07:00:00Z", "2026-11-22T14:10:00Z", "2027-11-22T14:15:00Z"]
    {
        assert_eq!(event(now, &two)["timestamp"], "2026-11-22T14:14:02.000Z", "{now}");
        assert_eq!(at(&one, now)["date_happened"], 1_795_356_842, "{now}");
    }
    // A day later, with the current time.
    let anyhow = |plan: &DatadogPlan| DatadogPlan { send_with_current_time: true, ..plan.clone() };
    let late = event("2026-11-23T14:15:00Z", &anyhow(&two));
    assert_eq!(late.get("timestamp"), None);
    assert!(late["tags"].as_array().unwrap().contains(&json!("late:true")), "no overlay takes it for news");
    assert_eq!(late["title"], "Ann turned checkout ON in production (happened 2026-11-22 14:14 UTC)");
    let happened = &late["attributes"]["change_metadata"]["flipt"]["happened_at"];
    assert_eq!(happened, "2026-11-22T14:14:02.000Z");
    let one_late = at(&anyhow(&one), "2026-11-23T14:15:00Z");
    assert_eq!(one_late.get("date_happened"), None);
    assert_eq!(one_late["title"], late["title"]);
    // Just in time.
    assert_eq!(event("2026-11-23T07:14:01Z", &anyhow(&two))["timestamp"], "2026-11-22T14:14:02.000Z");
    // Flipt's clock is ahead.
    let ahead = event("2026-11-22T14:00:00Z", &two);
    assert_eq!(ahead.get("timestamp"), None);
    let message = ahead["message"].as_str().unwrap();
    assert!(message.contains("Flipt's clock says 2026-11-22 14:14 UTC, which lies ahead"), "{message}");
    assert_eq!(at(&one, "2026-11-22T14:00:00Z").get("date_happened"), None);
}

#[test]
fn a_late_event_is_told_as_late() {
    let event =
        attributes(&plan(DatadogApi::V2), &[told("flag", "updated", &flag(true), &late(Some(&flag(false))))]);
    assert!(event["title"].as_str().unwrap().starts_with("Earlier change, arrived late: "));
    assert!(event["tags"].as_array().unwrap().contains(&json!("late:true")));
    assert_eq!(event["attributes"].get("new_value"), None, "what is now is something else");
}

#[test]
fn owners_of_the_flags_that_use_a_segment_are_concerned_too() {
    let used = Known {
        used_by: Some(Several { count: 3, first: vec!["checkout".into(), "search".into()] }),
        ..created()
    };
    let constraint = json!({"id": "c", "segment_key": "beta", "namespace_key": "production", "type": "STRING_COMPARISON_TYPE",
        "operator": "eq", "property": "country", "value": "CA"});
    let event = attributes(&plan(DatadogApi::V2), &[told("constraint", "created", &constraint, &used)]);
    assert_eq!(event["attributes"]["changed_resource"], json!({"type": "configuration", "name": "beta"}));
    let services =
        json!([{"type": "service", "name": "checkout-api"}, {"type": "service", "name": "storefront-web"}]);
    assert_eq!(event["attributes"]["impacted_resources"], services);
    assert!(event["message"].as_str().unwrap().contains("Used by checkout, search and 1 more"));
    assert_eq!(event["attributes"]["change_metadata"]["flipt"]["used_by"], json!(["checkout", "search"]));
    let tags = event["tags"].as_array().unwrap();
    for tag in ["team:growth", "team:payments", "segment:beta", "change:constraint"] {
        assert!(tags.contains(&json!(tag)), "{tag}: {tags:?}");
    }
    // Nobody owns it: the destination's own services.
    let other = json!({"key": "search", "namespace_key": "production", "enabled": true});
    let event = attributes(&plan(DatadogApi::V2), &[told("flag", "created", &other, &created())]);
    assert_eq!(event["attributes"]["impacted_resources"], json!([{"type": "service", "name": "web-store"}]));
}

#[test]
fn authors_are_what_acted() {
    for (actor, expected) in [
        (
            json!({"authentication": "oidc", "name": "Ann", "email": "ann@example.com"}),
            json!({"type": "user", "name": "ann@example.com"}),
        ),
        (json!({"authentication": "github", "name": "Ann"}), json!({"type": "user", "name": "Ann"})),
        (
            json!({"authentication": "token", "io.flipt.auth.token.name": "ci"}),
            json!({"type": "api", "name": "ci"}),
        ),
        (json!({"authentication": "token"}), json!({"type": "api", "name": "An API token"})),
        (
            json!({"authentication": "kubernetes"}),
            json!({"type": "automation", "name": "A Kubernetes service account"}),
        ),
        (json!({"authentication": "none", "ip": "10.1.2.3"}), json!({"type": "system", "name": "Someone"})),
    ] {
        let event = json!({"type": "flag", "action": "created", "payload": {"key": "a", "namespace_key": "default"}, "metadata": {"actor": actor}});
        let event = attributes(&plan(DatadogApi::V2), &super::deliveries(&event.to_string()));
        assert_eq!(event["attributes"]["author"], expected);
        assert!(!event.to_string().contains("10.1.2.3"), "no address");
    }
}

#[test]
fn resources_keep_their_names_apart() {
    let name = |key: &str| {
        let flag = json!({"key": key, "namespace_key": "production", "enabled": true});
        let event = attributes(&plan(DatadogApi::V2), &[told("flag", "created", &flag, &created())]);
        let name = event["attributes"]["changed_resource"]["name"].as_str().unwrap().to_owned();
        (name, event["aggregation_key"].as_str().unwrap().to_owned())
    };
    let long = "k".repeat(128);
    assert_eq!(name(&long).0, long);
    let (one, two) = (name(&format!("{long}a")), name(&format!("{long}b")));
    assert_eq!((one.0.chars().count(), one.1.chars().count()), (128, 100));
    assert!(one.0.starts_with(&"k".repeat(119)) && one.0.as_bytes()[119] == b'~');
    assert!(one.0 != two.0 && one.1 != two.1);
    assert_eq!(name(" \n ").0, "flag", "a key that says nothing");
}

#[test]
fn rum_sessions_are_linked_by_the_name_that_rum_takes() {
    let flag = json!({"key": "new-checkout.v2", "namespace_key": "production", "enabled": true});
    let change = [told("flag", "created", &flag, &created())];
    let message = |plan: &DatadogPlan| {
        attributes(plan, &change)["message"].as_str().unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let of_site = |site| DatadogPlan { site, ..plan(DatadogApi::V2) };
    for (site, app) in [
        ("datadoghq.com", "https://app.datadoghq.com"),
        ("datadoghq.eu", "https://app.datadoghq.eu"),
        ("us3.datadoghq.com", "https://us3.datadoghq.com"),
        ("us5.datadoghq.com", "https://us5.datadoghq.com"),
        ("ap1.datadoghq.com", "https://ap1.datadoghq.com"),
        ("ap2.datadoghq.com", "https://ap2.datadoghq.com"),
        ("uk1.datadoghq.com", "https://uk1.datadoghq.com"),
        ("ddog-gov.com", "https://app.ddog-gov.com"),
        ("us2.ddog-gov.com", "https://us2.ddog-gov.com"),
    ] {
        let link = format!("RUM sessions: {app}/rum/sessions?query=%40feature_flags.new_checkout_v2%3A%2A");
        assert_eq!(message(&of_site(site)).last(), Some(&link));
    }
    let mut own = plan(DatadogApi::V2);
    let link = LinkPlan { title: "RUM Sessions".into(), url: "https://rum.example.com/{{ key }}".into() };
    let links = LinksPlan { templates: vec![link], ..LinksPlan::default() };
    own.around.links = Arc::new(links);
    let links: Vec<String> =
        message(&own).into_iter().filter(|line| line.to_lowercase().contains("rum")).collect();
    assert_eq!(links, ["RUM Sessions: https://rum.example.com/new-checkout.v2"]);
}

#[test]
fn the_event_that_the_documentation_shows_is_one() {
    let page = include_str!("../../../docs/datadog.md");
    let shown = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    judge(&validator(DatadogApi::V2), &serde_json::from_str(shown).unwrap());
}

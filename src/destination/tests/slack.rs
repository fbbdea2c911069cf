//! Slack: golden messages of all there is to say, alone and grouped, and what no message may do.

mod hostile;

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::telling::{all, created, flag, half, late, off, on, order, rest, seen, share, stories, told};
use super::{context, deliveries, gap, golden, time, unparsed};
use crate::config::plan::{LinksPlan, RedactPlan, Redaction, SlackAccess, SlackPlan, Surroundings};
use crate::config::secret::Secret;
use crate::destination::redact::Redacted;
use crate::destination::slack::Slack;
use crate::destination::{Delivery, Destination, Outbound, RenderContext, Rendered, Request};
use crate::event::{EventId, Incarnation, Known, Several};
use crate::routing::{Owner, Owners, Pattern};

const HOOK: &str = "https://hooks.slack.com/services/T00000000/B00000000/notarealone0000000000000";

fn around() -> Surroundings {
    let owner = |flags: &str, segments: &str, team: &str, slack: Option<&str>| Owner {
        flags: vec![Pattern::new(flags)],
        segments: vec![Pattern::new(segments)],
        namespaces: Vec::new(),
        team: team.into(),
        slack: slack.map(Into::into),
        services: Vec::new(),
    };
    let owners = vec![
        owner("checkout*", "beta", "payments", Some("#team-payments")),
        owner("search-*", "search-*", "search", None),
    ];
    let links = LinksPlan { flipt: Some("https://flipt.example.com".into()), ..LinksPlan::default() };
    Surroundings { owners: Arc::new(Owners(owners)), links: Arc::new(links) }
}

fn slack(access: SlackAccess) -> Slack {
    Slack::new(SlackPlan { access, group_wait: std::time::Duration::from_secs(15), around: around() })
}

fn webhook() -> Slack {
    slack(SlackAccess::Webhook(Arc::new(Secret::new(HOOK))))
}

fn bot() -> Slack {
    slack(SlackAccess::Bot {
        token: Secret::new("xoxb-not-a-real-token"),
        channel: "#flag-changes".into(),
        endpoint: Arc::new(Secret::new("https://slack.com/api/")),
    })
}

/// The same event by somebody else, about another flag, so many seconds after 14:14:00, in a place of its own.
fn as_of(delivery: &Delivery, who: &str, key: &str, second: u64) -> Delivery {
    let mut delivery = delivery.clone();
    let other = |text: &str| {
        let text = text.replace("\"Ann\"", &json!(who).to_string());
        let text =
            text.replace("ann@example.com", &format!("{}@example.com", who.to_lowercase().replace(' ', "-")));
        let text = text.replace("\"Checkout\"", &json!(called(key)).to_string());
        text.replace("\"checkout\"", &json!(key).to_string()).replace(
            "2026-11-22T14:14:02Z",
            &format!("2026-11-22T14:{:02}:{:02}Z", 14 + second / 60, second % 60),
        )
    };
    let original = other(std::str::from_utf8(&delivery.record.original).unwrap());
    let read = deliveries(&original).remove(0).record;
    delivery.record.original = original.into_bytes();
    delivery.record.event_time = read.event_time;
    (delivery.record.entity, delivery.record.order_key) = (read.entity, read.order_key);
    delivery.record.known = delivery.record.known.as_deref().map(|known| other(known).into());
    placed(delivery, second)
}

/// What people call a flag.
fn called(key: &str) -> &str {
    match key {
        "checkout" => "New checkout flow",
        "search-ranking" => "Search ranking",
        "pay-sepa" => "SEPA",
        other => other,
    }
}

fn placed(mut delivery: Delivery, place: u64) -> Delivery {
    let incarnation = Incarnation::name("audit-relay", "flipt", b"first line", 0);
    delivery.record.id = EventId::of_line(incarnation, place, &delivery.record.original);
    delivery.record.sequence = place;
    delivery
}

fn of_set(mut delivery: Delivery, set: &str) -> Delivery {
    delivery.record.change_set = Some(set.into());
    delivery
}

fn tenth() -> Delivery {
    told("rollout", "updated", &share(10.0), &seen(1, &share(50.0)))
}

fn described() -> Delivery {
    let mut described = flag(true);
    described["description"] = "PAY-481".into();
    told("flag", "updated", &described, &seen(1, &flag(true)))
}

fn deleted() -> Delivery {
    told("flag", "deleted", &json!({"key": "checkout", "namespace_key": "production"}), &seen(1, &flag(true)))
}

fn segment_deleted(live: Option<bool>) -> Delivery {
    let state = json!({"key": "checkout", "name": "Checkout", "match_type": "ALL_MATCH_TYPE",
        "namespace_key": "production"});
    let known = Known { live, ..seen(1, &state) };
    told("segment", "deleted", &json!({"key": "checkout", "namespace_key": "production"}), &known)
}

fn namespace_deleted(by_force: bool) -> Delivery {
    told("namespace", "deleted", &json!({"key": "checkout", "force": by_force}), &Known::default())
}

fn other_ann(second: u64) -> Delivery {
    let mut delivery = as_of(&half(), "Ann", "pay-sepa", second);
    let original = String::from_utf8(delivery.record.original).unwrap();
    delivery.record.original = original.replace("ann@example.com", "ann.other@example.com").into();
    delivery
}

/// Two of one name.
fn namesakes(at: u64) -> [Delivery; 2] {
    let who = ["Ann", "Ben", "Cleo", "Dan", "Eve", "Fay"][at as usize];
    let one = as_of(&half(), who, "pay-sepa", 60 + at * 2);
    let mut other = placed(one.clone(), 61 + at * 2);
    let original = String::from_utf8(other.record.original).unwrap();
    other.record.original = original.replace("@example.com", ".other@example.com").into();
    if at.is_multiple_of(2) { [one, other] } else { [one.clone(), placed(one, 61 + at * 2)] }
}

fn unnamed(delivery: &Delivery, key: &str, second: u64) -> Delivery {
    let mut delivery = as_of(delivery, "Ann", key, second);
    let original = String::from_utf8(delivery.record.original).unwrap();
    let original = original.replace(",\"name\":\"Ann\"}", "}").replace("\"email\":\"ann@example.com\",", "");
    delivery.record.original = original.into();
    delivery
}

/// In staging, or in a namespace that is of no environment.
fn elsewhere(second: u64, is_staging: bool) -> Delivery {
    let mut delivery = as_of(&half(), "Ben", "search-ranking", second);
    delivery.environment = is_staging.then(|| "staging".into());
    delivery
}

fn refused(noun: &str, action: &str) -> Delivery {
    let mut denied = told(noun, action, &Value::Null, &Known::default());
    let original = String::from_utf8(denied.record.original).unwrap();
    denied.record.original =
        original.replace("\"payload\":null", "\"payload\":null,\"status\":\"denied\"").into();
    denied.environment = None;
    denied
}

fn rendered(destination: &Slack, deliveries: &[Delivery]) -> Rendered {
    destination.render(deliveries, &context(deliveries))
}

fn body(outbound: &Outbound) -> Value {
    let Request::Http(request) = &outbound.request else { panic!() };
    serde_json::from_slice(&request.body).unwrap()
}

fn message(deliveries: &[Delivery]) -> Option<Value> {
    rendered(&webhook(), deliveries).requests.first().map(body)
}

/// A message as people read it: what notifications show, sections, and small print after `~`.
fn readable(deliveries: &[Delivery]) -> String {
    let Some(message) = message(deliveries) else { return "    nothing is sent\n".to_owned() };
    let mut text = format!("    {}\n", message["text"].as_str().unwrap());
    for block in message["blocks"].as_array().unwrap() {
        let (sign, words) = match block["type"].as_str().unwrap() {
            "section" => ('|', block["text"]["text"].as_str().unwrap()),
            _ => ('~', block["elements"][0]["text"].as_str().unwrap()),
        };
        for line in words.lines() {
            let _ = writeln!(text, "  {sign} {line}");
        }
    }
    text
}

fn many(number: u64, who: &str) -> Vec<Delivery> {
    let flags = ["search-ranking", "pay-sepa", "vat-notice", "dark-mode"];
    let events = [on(), half(), described(), told("flag", "created", &flag(false), &created())];
    let one = |at: u64| {
        let key = match flags.get(at as usize) {
            Some(key) => (*key).to_owned(),
            None => format!("flag-{at:02}"),
        };
        as_of(&events[(at % 4) as usize], who, &key, at * 7)
    };
    (0..number).map(one).collect()
}

fn groups() -> Vec<(&'static str, Vec<Delivery>)> {
    let two = |first: Delivery, second: Delivery, set: &str| vec![of_set(first, set), of_set(second, set)];
    let set = two(as_of(&on(), "Ann", "checkout", 2), as_of(&half(), "Ann", "checkout", 20), "cs_1");
    let mut busy = many(36, "Terraform CI");
    busy.push(as_of(&off(), "Ben", "checkout", 100));
    let mut crowd = many(9, "Ann");
    crowd.extend(
        (9..14).map(|at| {
            as_of(&half(), ["Ben", "Cleo", "Dan", "Eve", "Fay"][at as usize - 9], "pay-sepa", at * 7)
        }),
    );
    vec![
        ("one change set, two saves 18 s apart", set.clone()),
        (
            "the same, and one by somebody else",
            [set.clone(), vec![as_of(&half(), "Ben", "search-ranking", 40)]].concat(),
        ),
        (
            "a live flag is turned off",
            [
                set.clone(),
                vec![as_of(&described(), "Ann", "pay-sepa", 30), as_of(&off(), "Ben", "checkout", 61)],
            ]
            .concat(),
        ),
        (
            "one actor and one flag, again and again",
            vec![
                as_of(&on(), "Ann", "checkout", 2),
                as_of(&half(), "Ann", "checkout", 80),
                as_of(&off(), "Ann", "checkout", 140),
            ],
        ),
        (
            "off, and on again by somebody else",
            vec![as_of(&off(), "Ben", "checkout", 3), as_of(&on(), "Ann", "checkout", 95)],
        ),
        (
            "off, on again by somebody else, and another one off: all in one second",
            [("Ben", "checkout", off()), ("Ann", "checkout", on()), ("Cleo", "pay-sepa", off())]
                .iter()
                .enumerate()
                .map(|(at, (who, key, event))| placed(as_of(event, who, key, 3), at as u64 + 1))
                .collect(),
        ),
        (
            "many, a flag off and on again, and a segment in use deleted",
            [
                many(9, "Ann"),
                vec![
                    as_of(&off(), "Ben", "checkout", 70),
                    as_of(&on(), "Ben", "checkout", 71),
                    as_of(&segment_deleted(Some(true)), "Dan", "beta", 72),
                    as_of(&segment_deleted(None), "Eve", "staff", 73),
                ],
            ]
            .concat(),
        ),
        (
            "many, and a namespace is deleted by force",
            [many(9, "Ann"), vec![as_of(&namespace_deleted(true), "Ben", "payments", 70)]].concat(),
        ),
        ("two of one name", vec![as_of(&on(), "Ann", "checkout", 2), other_ann(4), other_ann(5)]),
        (
            "several of one name, and others",
            [many(6, "Terraform CI"), (0..6).flat_map(namesakes).collect()].concat(),
        ),
        (
            "nobody is named",
            vec![
                unnamed(&on(), "checkout", 2),
                as_of(&half(), "Ann", "pay-sepa", 3),
                unnamed(&half(), "vat", 4),
            ],
        ),
        ("here and there", vec![as_of(&on(), "Ann", "checkout", 2), elsewhere(4, true), elsewhere(5, false)]),
        (
            "changes, a refused attempt, and warnings",
            vec![
                as_of(&half(), "Ann", "checkout", 2),
                as_of(&refused("flag", "updated"), "Ben", "x", 3),
                placed(unparsed(b"{"), 4),
                placed(unparsed(b"{"), 5),
            ],
        ),
        (
            "events are missing, and acts",
            [vec![placed(gap(), 3)], rest().into_iter().rev().take(2).collect()].concat(),
        ),
        (
            "turned OFF, and its rollout goes on",
            two(as_of(&half(), "Ann", "checkout", 2), as_of(&off(), "Ann", "checkout", 20), "cs_1"),
        ),
        (
            "turned OFF, and its rollout goes to nobody",
            two(
                as_of(&told("rollout", "updated", &share(0.0), &seen(1, &share(10.0))), "Ann", "checkout", 2),
                as_of(&off(), "Ann", "checkout", 20),
                "cs_1",
            ),
        ),
        (
            "turned OFF, and its rollout is saved as it was",
            vec![
                of_set(as_of(&described(), "Ann", "checkout", 1), "cs_1"),
                of_set(as_of(&off(), "Ann", "checkout", 2), "cs_1"),
                of_set(as_of(&half(), "Ann", "checkout", 3), "cs_1"),
                of_set(as_of(&tenth(), "Ann", "checkout", 4), "cs_1"),
            ],
        ),
        (
            "created OFF, and a rollout with it",
            two(
                as_of(&told("flag", "created", &flag(false), &created()), "Ann", "checkout", 2),
                as_of(&told("rollout", "created", &share(10.0), &created()), "Ann", "checkout", 3),
                "cs_1",
            ),
        ),
        (
            "a flag is deleted",
            vec![as_of(&deleted(), "Ben", "checkout", 3), as_of(&on(), "Ann", "pay-sepa", 5)],
        ),
        ("many by one", many(37, "Terraform CI")),
        ("many, and a live flag is turned off", busy),
        ("many by several", crowd),
        (
            "refused again and again",
            vec![
                as_of(&refused("flag", "updated"), "Ben", "x", 3),
                as_of(&refused("flag", "updated"), "Ben", "x", 9),
                as_of(&refused("flag", "updated"), "Ben", "x", 12),
                as_of(&refused("segment", "deleted"), "Ben", "x", 700),
            ],
        ),
        (
            "refused, each his own way",
            vec![
                as_of(&refused("flag", "updated"), "Ben", "x", 3),
                as_of(&refused("rule", "created"), "Cleo", "x", 9),
            ],
        ),
        (
            "nothing changed",
            vec![as_of(&told("flag", "updated", &flag(true), &seen(1, &flag(true))), "Ann", "checkout", 1)],
        ),
        (
            "nothing changed, and something did",
            vec![
                as_of(&told("flag", "updated", &flag(true), &seen(1, &flag(true))), "Ann", "checkout", 1),
                as_of(&on(), "Ann", "search-ranking", 4),
            ],
        ),
        ("events are missing", vec![placed(gap(), 3), as_of(&on(), "Ann", "checkout", 4)]),
        ("nothing can be read", (0..300).map(|at| placed(unparsed(b"{\"type\":\"flag\""), at)).collect()),
        (
            "operators",
            rest().into_iter().rev().take(4).enumerate().map(|(at, act)| placed(act, at as u64)).collect(),
        ),
        (
            "late, beside one in time",
            vec![
                as_of(&told("flag", "updated", &flag(true), &late(Some(&flag(false)))), "Ben", "checkout", 3),
                as_of(&order(&[("beta", Some(2)), ("staff", Some(1))], "rule"), "Ann", "checkout", 9),
            ],
        ),
        (
            "nasty names",
            vec![
                as_of(&on(), "*Ann* <!channel> @here :fire: `x` <https://evil.example|Ben>", "checkout", 2),
                as_of(&half(), "_Ben_ ~ & Co. > all\u{202e}", "new_check_out_", 4),
            ],
        ),
    ]
}

/// `UPDATE_GOLDEN=1` writes the file anew; look at it before you commit it.
#[test]
fn every_message_is_as_it_was_read() {
    let mut text = String::new();
    for (title, deliveries) in groups() {
        let _ = write!(text, "# {title}\n{}", readable(&deliveries));
    }
    for (title, deliveries) in stories() {
        let deliveries: Vec<_> = deliveries.into_iter().map(|delivery| of_set(delivery, "cs_1")).collect();
        let _ = write!(text, "# a change set: {title}\n{}", readable(&deliveries));
    }
    text += "# everything alone\n";
    for mut delivery in all() {
        if let Some(at) = delivery.record.event_time {
            delivery.record.accepted_at = at.plus(std::time::Duration::from_secs(112));
        }
        text += &readable(&[delivery]);
    }
    golden("slack.txt", &text);
    let json = serde_json::to_string_pretty(&message(&groups()[0].1).unwrap()).unwrap();
    golden("slack.json", &format!("{json}\n"));
}

#[test]
fn a_webhook_and_a_bot_say_the_same() {
    let deliveries = [on()];
    let request = |destination: &Slack| {
        let mut rendered = rendered(destination, &deliveries);
        assert_eq!(rendered.requests.len(), 1);
        let outbound = rendered.requests.remove(0);
        let body = body(&outbound);
        let Request::Http(request) = outbound.request else { panic!() };
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| format!("{name}: {}", value.expose())).collect();
        assert_eq!(request.method, "POST");
        (request.url.expose().to_owned(), headers, body)
    };
    let agent = format!("user-agent: audit-relay/{}", env!("CARGO_PKG_VERSION"));
    let json = "content-type: application/json; charset=utf-8";
    let (url, headers, by_webhook) = request(&webhook());
    assert_eq!((url.as_str(), headers), (HOOK, vec![json.to_owned(), agent.clone()]));
    assert_eq!((&by_webhook["unfurl_links"], &by_webhook["unfurl_media"]), (&json!(false), &json!(false)));
    let (url, headers, mut by_bot) = request(&bot());
    assert_eq!(url, "https://slack.com/api/chat.postMessage");
    assert_eq!(headers, [json.to_owned(), agent, "authorization: Bearer xoxb-not-a-real-token".to_owned()]);
    let channel = by_bot.as_object_mut().unwrap().remove("channel");
    assert_eq!((channel, by_bot), (Some(json!("#flag-changes")), by_webhook));
}

#[test]
fn the_day_is_told_where_it_is_another_and_a_replay_is_told() {
    let deliveries = [on()];
    let later = RenderContext { now: time("2026-11-23T08:00:00Z"), replay: true, ..context(&deliveries) };
    let rendered = webhook().render(&deliveries, &later);
    let body = body(&rendered.requests[0]);
    let small = body["blocks"][1]["elements"][0]["text"].as_str().unwrap();
    assert_eq!(
        small,
        "payments (#team-payments) · <!date^1795356842^{date_short_pretty} {time}|Nov 22, 2026 14:14 UTC>"
    );
    assert_eq!(body["text"], "Told once more: Ann turned checkout ON in production");
    let first = |body: &Value| body["blocks"][0]["text"]["text"].as_str().unwrap().to_owned();
    assert!(first(&body).starts_with("🔁 Told once more: *Ann* turned *<"), "{body}");
    let several = [as_of(&half(), "Ann", "checkout", 2), as_of(&off(), "Ben", "pay-sepa", 3)];
    let rendered = webhook().render(&several, &later);
    let body = self::body(&rendered.requests[0]);
    assert_eq!(
        body["text"],
        "Told once more: 2 changes in production by Ann and Ben · checkout and pay-sepa"
    );
    assert!(first(&body).starts_with("🔁 Told once more: *2 changes*"), "{body}");
    let gone = webhook().render(&[deleted()], &later);
    assert!(
        first(&self::body(&gone.requests[0])).starts_with("🔁 Told once more: *Ann* deleted flag *checkout*")
    );
}

#[test]
fn what_goes_out_late_says_so_and_names_the_day() {
    let small = |deliveries: &[Delivery], now: &str| {
        let context = RenderContext { now: time(now), ..context(deliveries) };
        let body = body(&webhook().render(deliveries, &context).requests[0]);
        let last = body["blocks"].as_array().unwrap().last().unwrap();
        last["elements"][0]["text"].as_str().unwrap_or_default().replace("payments (#team-payments) · ", "")
    };
    let clock = "<!date^1795356842^{time}|14:14 UTC>";
    let day = "<!date^1795356842^{date_short_pretty} {time}|Nov 22, 2026 14:14 UTC>";
    for (now, expected) in [
        ("2026-11-22T14:15:00Z", clock.to_owned()),
        ("2026-11-22T15:14:02Z", clock.to_owned()),
        ("2026-11-22T15:14:03Z", format!("{clock} · told 60 min late")),
        ("2026-11-22T20:14:02Z", format!("{clock} · told 6 h late")),
        ("2026-11-22T20:14:03Z", format!("{day} · told 6 h late")),
    ] {
        assert_eq!(small(&[on()], now), expected, "{now}");
    }
    let three: Vec<_> = (0..3).map(|at| as_of(&half(), "Ann", "checkout", at * 7)).collect();
    assert!(small(&three, "2026-11-22T17:00:00Z").ends_with(" · told up to 2 h late"));
}

#[test]
fn what_people_wrote_in_brackets_is_shown_and_json_is_counted() {
    let mut new = flag(true);
    new["description"] = "[DEPRECATED] use checkout-2".into();
    new["metadata"] = json!({"team": "payments"});
    let old = flag(false);
    let text = readable(&[told("flag", "updated", &new, &seen(1, &old))]);
    assert!(text.contains("\n  | Description   *[DEPRECATED] use checkout-2*\n"), "{text}");
    assert!(!text.contains("{\"team") && text.contains("\n  | and 1 more\n"), "{text}");
}

#[test]
fn owners_of_flags_that_use_a_segment_are_named() {
    let used_by = Several { count: 3, first: vec!["checkout".to_owned(), "search-ranking".to_owned()] };
    let Some(state) = Known::read(segment_deleted(None).record.known.as_deref()).before else { panic!() };
    let known = Known { used_by: Some(used_by), before: Some(state), ..seen(1, &Value::Null) };
    let ids = json!({"key": "staff", "namespace_key": "production"});
    let text = readable(&[told("segment", "deleted", &ids, &known)]);
    assert!(text.contains(" · payments (#team-payments) and search · <!date"), "{text}");
}

#[test]
fn a_test_says_so_at_first_sight() {
    let mut test = as_of(&off(), "audit-relay send-test", "audit-relay-test", 3);
    (test.record.source, test.record.epoch) = ("send-test".into(), "send-test".into());
    let text = readable(&[test.clone()]);
    assert_eq!(
        text,
        "    A test of audit-relay: nothing was changed\n  | 🧪 A test of audit-relay: nothing was changed\n  \
         ~ <!date^1795356843^{time}|14:14 UTC>\n"
    );
    test.record.epoch = "0198".into();
    assert!(!readable(&[test]).contains("🧪"), "a source may be called so");
}

#[test]
fn every_record_is_delivered_or_left_out() {
    let same = told("flag", "updated", &flag(true), &seen(1, &flag(true)));
    let deliveries: Vec<Delivery> =
        (0..).zip([on(), same, half(), gap()]).map(|(place, delivery)| placed(delivery, place)).collect();
    let rendered = rendered(&webhook(), &deliveries);
    let id = |at: usize| deliveries[at].record.id;
    assert_eq!(rendered.requests[0].members, [id(0), id(2), id(3)]);
    assert_eq!((rendered.left_out, rendered.unrenderable.len()), (vec![id(1)], 0));
}

#[test]
fn what_slack_repeats_shows_no_secret() {
    let said =
        webhook().excerpt(format!("no_service for {HOOK} and B00000000/notarealone0000000000000").as_bytes());
    assert!(said.starts_with("no_service for [redacted]") && !said.contains("notareal"), "{said}");
    let said = bot().excerpt(b"bad token XOXB-not-a-real-token");
    assert_eq!(said, "bad token [redacted]");
}

#[test]
fn links_that_cannot_be_links_are_none() {
    let long = "k".repeat(2_000);
    let key = as_of(&on(), "Ann", &long, 3);
    let text = readable(&[key]);
    assert!(!text.contains("https://") && text.contains("*kkk"), "{text}");
}

#[test]
fn what_is_not_to_be_seen_is_not_told() {
    let mut renamed = flag(true);
    renamed["name"] = "Secret project".into();
    let deliveries = [
        as_of(&told("flag", "updated", &renamed, &seen(1, &flag(false))), "Ann", "checkout", 2),
        as_of(&deleted(), "Ann", "checkout", 3),
    ];
    let redact = RedactPlan {
        email: Some(Redaction::Drop),
        ip: None,
        name: Some(Redaction::Mask),
        fields: [("name".to_owned(), Redaction::Drop)].into(),
    };
    let destination = Redacted::new(Arc::new(webhook()), redact);
    let rendered = destination.render(&deliveries, &context(&deliveries));
    let body = body(&rendered.requests[0]);
    assert_eq!(body["text"], "[redacted] deleted flag checkout in production · was ON · and 1 more change");
    let all = body.to_string();
    for secret in ["Secret project", "New checkout flow", "Ann", "ann@example.com"] {
        assert!(!all.contains(secret), "{all}");
    }
    assert!(all.contains("turned *<") && all.contains("name changed, which is not shown here"), "{all}");
}

/// How many changes a message tells, in lines or numbers.
fn told_changes(deliveries: &[Delivery]) -> usize {
    let body = message(deliveries).unwrap();
    let blocks = body["blocks"].as_array().unwrap();
    let sections = blocks.iter().filter_map(|block| block["text"]["text"].as_str());
    let lines: Vec<&str> = sections.flat_map(str::lines).filter(|line| !line.starts_with("📦")).collect();
    let rest =
        |line: &&str| line.strip_prefix("… and ")?.split(' ').next()?.replace(',', "").parse::<usize>().ok();
    let rest: usize = lines.iter().filter_map(rest).sum();
    rest + lines
        .iter()
        .filter(|line| ["🟢", "🔴", "🎚️", "✏️", "⚙️"].iter().any(|sign| line.starts_with(sign)))
        .count()
}

/// The same, where a group counts its others.
fn told_in_groups(deliveries: &[Delivery]) -> usize {
    let body = message(deliveries).unwrap().to_string();
    let more =
        body.split("\\nand ").nth(1).and_then(|rest| rest.split(' ').next()?.replace(',', "").parse().ok());
    told_changes(deliveries) + more.unwrap_or(0)
}

#[test]
fn whatever_has_no_room_is_counted() {
    for number in [2, 5, 6, 8, 9, 37, 300, 1_000] {
        let deliveries = many(number, "Terraform CI");
        assert_eq!(told_changes(&deliveries) as u64, number);
        let text = message(&deliveries).unwrap()["text"].as_str().unwrap().to_owned();
        let number = if number == 1_000 { "1,000".to_owned() } else { number.to_string() };
        assert!(text.starts_with(&format!("{number} changes in production")), "{text}");
    }
    // Five that fill a message each.
    let long = |at: u64| {
        let text = |fill: &str| (fill.repeat(20) + " ").repeat(10);
        let mut old = flag(true);
        (old["name"], old["description"]) = (text("&<").into(), text("<&").into());
        let mut new = old.clone();
        (new["name"], new["description"]) = (text("<>").into(), text("><").into());
        as_of(&told("flag", "updated", &new, &seen(1, &old)), &"<".repeat(80), &format!("flag-{at}"), at * 7)
    };
    let deliveries: Vec<Delivery> = (0..5).map(long).collect();
    assert_eq!(told_changes(&deliveries), 5);
    assert!(message(&deliveries).unwrap().to_string().contains("… and "), "not all have room");
    // The lead is told once, however little room there is for what else became of its flag.
    let nasty = "<".repeat(80);
    let mut deliveries: Vec<Delivery> = (0..8).map(|at| as_of(&half(), &nasty, &nasty, at * 7)).collect();
    deliveries.push(as_of(&off(), &nasty, &nasty, 99));
    assert_eq!(told_in_groups(&deliveries), 9);
}

//! Slack as its users wish it, from outside: the built program against a Slack that enforces its limits.

mod burst;
mod fake;
mod secrets;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::slack::{CHANNEL, Mood, TOKEN};
use crate::support::{FakeSlack, Line, Workplace, ago, eventually, flag};

/// Where waiting is not the point.
const QUICK: &str =
    "group_wait: 200ms, deliver_since: beginning, retry: {initial_backoff: 5ms, max_backoff: 20ms}";

/// The two ways in.
fn accesses(slack: &FakeSlack) -> [String; 2] {
    [format!("webhook_url: '{}'", slack.webhook_url()), bot(slack)]
}

fn bot(slack: &FakeSlack) -> String {
    format!("token: {TOKEN}, channel: '{CHANNEL}', endpoint: '{}'", slack.api_url())
}

fn place(access: &str, more: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
environments: {{production: [default]}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  slack: {{type: slack, {access}, {more}}}
routes:
  production: {{when: {{environments: [production]}}, to: [slack]}}
  denied: {{when: {{statuses: [denied]}}, to: [slack]}}
"
    ));
    place
}

fn with(slack: &FakeSlack, more: &str) -> Workplace {
    place(&accesses(slack)[0], more)
}

/// What differs from one another and from what was before.
fn edits(count: usize) -> String {
    let edit = |number: usize| {
        Line::flag("updated", &format!("flag-{}", number % 7), true, &format!("edit {number}")).text()
    };
    (0..count).map(edit).collect()
}

fn all_delivered(count: usize) -> Value {
    json!({"state": "running", "delivered": count, "dead": 0, "waiting": 0})
}

#[test]
fn one_change_is_one_message_by_either_way() {
    for index in 0..2 {
        let slack = FakeSlack::start();
        let place = place(&accesses(&slack)[index], QUICK);
        place.append("audit.log", Line::flag("created", "checkout", false, "").at(ago(20)).text());
        place.append("audit.log", Line::flag("updated", "checkout", true, "").at(ago(2)).text());
        let relay = place.run();
        place.wait_for_standing("slack", &all_delivered(2));
        let messages = slack.messages();
        assert_eq!(messages.len(), 1, "{messages:#?}");
        let text = messages[0].text();
        assert!(text.contains("checkout") && text.contains("Ann") && text.contains("production"), "{text}");
        assert!(!text.contains("ann@example.com"), "an address where there is a name: {text}");
        let said = messages[0].said();
        assert!(!said.contains("10.1.2.3") && !said.contains("evt_"), "{said}");
        let request = &slack.received()[0];
        assert_eq!(request.method, "POST");
        assert_eq!(request.header("content-type"), Some("application/json; charset=utf-8"));
        if index == 1 {
            assert_eq!(
                (request.path.as_str(), &messages[0].body["channel"]),
                ("/api/chat.postMessage", &CHANNEL.into())
            );
        }
        assert!(relay.stop().status.success());
    }
}

#[test]
fn a_first_start_with_a_year_of_log_tells_what_comes_after() {
    let slack = FakeSlack::start();
    let place = with(&slack, "group_wait: 50ms");
    const OLD: i64 = 2_000;
    let year = |edit: i64| {
        let verb = if edit == OLD { "created" } else { "updated" };
        let line = Line::flag(verb, "checkout", edit % 2 == 0, &format!("edit {edit}"));
        line.at(ago(3_600 + edit * 15_000)).text()
    };
    place.append("audit.log", (1..=OLD).rev().map(year).collect::<String>());
    let relay = place.run();
    place.wait_for_standing("slack", &json!({"before_since": OLD, "delivered": 0, "waiting": 0}));
    assert!(slack.received().is_empty());
    let told = |log: &str| -> i64 {
        let lines = log.lines().filter(|line| line.contains("kept as history"));
        let words = lines.flat_map(|line| line.split(['=', ':', ',', ' ', '"', '}']));
        words.filter_map(|word| word.parse::<i64>().ok().filter(|number| (2..=OLD).contains(number))).sum()
    };
    eventually("the log says how many are history", || (told(&relay.log()) >= OLD).then_some(()));
    place.append("audit.log", Line::flag("updated", "checkout", true, "after now").at(ago(-1)).text());
    place.wait_for_standing("slack", &json!({"before_since": OLD, "delivered": 1, "waiting": 0}));
    assert_eq!(slack.messages().len(), 1);
    assert!(relay.stop().status.success());
}

#[test]
fn an_archived_channel_blocks_and_loses_nothing() {
    for index in 0..2 {
        let slack = FakeSlack::start();
        slack.set(Mood::Archived);
        let place = place(&accesses(&slack)[index], QUICK);
        place.append("audit.log", edits(10));
        let relay = place.run();
        let standing = json!({"state": "blocked", "waiting": 10, "dead": 0, "delivered": 0});
        let blocked = place.wait_for_standing("slack", &standing);
        assert!(blocked["reason"].as_str().unwrap().contains("archived"), "{blocked:#}");
        slack.set(Mood::Well);
        // Where Slack's answer meant "never again", a person says that it is well.
        place.ask(&["resume", "slack"]);
        let delivered =
            place.wait_for_standing("slack", &json!({"state": "running", "delivered": 10, "dead": 0}));
        assert_eq!(delivered["waiting"], 0, "{delivered:#}");
        assert!(relay.stop().status.success());
    }
}

#[test]
fn what_was_revoked_or_is_missing_blocks() {
    for index in 0..2 {
        let slack = FakeSlack::start();
        slack.set(Mood::Revoked);
        let place = place(&accesses(&slack)[index], QUICK);
        place.append("audit.log", edits(3));
        let relay = place.run();
        let standing = json!({"state": "blocked", "waiting": 3, "dead": 0, "delivered": 0});
        let blocked = place.wait_for_standing("slack", &standing);
        let word = ["no_service", "token_revoked"][index];
        assert!(blocked["reason"].as_str().unwrap().contains(word), "{blocked:#}");
        assert!(relay.stop().status.success());
    }
    let slack = FakeSlack::start();
    let missing = bot(&slack).replace(CHANNEL, "C0000000009");
    let place = place(&missing, QUICK);
    place.append("audit.log", edits(3));
    let relay = place.run();
    let blocked = place.wait_for_standing("slack", &json!({"state": "blocked", "waiting": 3, "dead": 0}));
    assert!(blocked["reason"].as_str().unwrap().contains("channel_not_found"), "{blocked:#}");
    assert!(relay.stop().status.success());
}

#[test]
fn nothing_is_lost_in_a_storm_or_a_silence() {
    for mood in [Mood::Storm, Mood::Hangs] {
        let slack = FakeSlack::start();
        slack.set(mood.clone());
        let place = with(&slack, &format!("{QUICK}, timeout: 200ms"));
        place.append("audit.log", edits(30));
        let relay = place.run();
        slack.wait_for(3);
        let waits = place.destination("slack");
        assert_eq!((&waits["waiting"], &waits["dead"]), (&30.into(), &0.into()), "{waits:#}");
        slack.set(Mood::Well);
        place.wait_for_standing("slack", &all_delivered(30));
        assert!(slack.messages().len() <= 3, "groups stay together: {mood:?}");
        assert!(relay.stop().status.success());
    }
}

#[test]
fn a_200_that_is_not_ok_delivers_nothing() {
    for (index, odd) in [
        (0, "<html>log in</html>"),
        (0, ""),
        (0, r#"{"ok":false,"error":"fatal_error"}"#),
        (1, r#"{"ok":false,"error":"service_unavailable"}"#),
        (1, r#"{"ok":false,"error":"an_error_of_next_year"}"#),
        (1, "ok"),
        (1, "<html>log in</html>"),
    ] {
        let slack = FakeSlack::start();
        slack.set(Mood::Odd(odd.to_owned()));
        let place = place(&accesses(&slack)[index], QUICK);
        place.append("audit.log", edits(5));
        let relay = place.run();
        slack.wait_for(3);
        let waits = place.destination("slack");
        assert_eq!(
            (&waits["waiting"], &waits["dead"], &waits["delivered"]),
            (&5.into(), &0.into(), &0.into()),
            "{odd}: {waits:#}"
        );
        slack.set(Mood::Well);
        place.wait_for_standing("slack", &all_delivered(5));
        assert!(relay.stop().status.success());
    }
}

#[test]
fn what_slack_refuses_for_itself_is_a_dead_letter() {
    for index in 0..2 {
        let slack = FakeSlack::start();
        let place = place(&accesses(&slack)[index], QUICK);
        slack.next(Mood::Refuses("invalid_blocks"));
        place.append("audit.log", edits(1));
        let relay = place.run();
        place.wait_for_standing("slack", &json!({"state": "running", "dead": 1, "waiting": 0}));
        let letters = place.dead_letters();
        let shown = place.ask(&["dead-letters", "show", letters[0]["id"].as_str().unwrap()]);
        assert!(shown.contains("invalid_blocks"), "{shown}");
        place.append("audit.log", Line::flag("updated", "other", true, "well").text());
        place.wait_for_standing("slack", &json!({"delivered": 1, "dead": 1, "waiting": 0}));
        assert!(relay.stop().status.success());
    }
}

#[test]
fn retry_after_pauses_by_either_way() {
    for index in 0..2 {
        let slack = FakeSlack::start();
        slack.next(Mood::Limited(2));
        let place = place(&accesses(&slack)[index], QUICK);
        place.append("audit.log", edits(3));
        let relay = place.run();
        place.wait_for_standing("slack", &all_delivered(3));
        let received = slack.received();
        assert_eq!(received.len(), 2);
        let waited = received[1].at - received[0].at;
        assert!(waited >= Duration::from_secs(2), "{waited:?}");
        assert!(relay.stop().status.success());
    }
}

#[test]
fn turning_a_live_flag_off_goes_at_once_with_what_waits_for_it() {
    for last in [
        Line::flag("updated", "checkout", false, ""),
        Line::new("flag", "deleted", flag("checkout", true, "")),
    ] {
        let slack = FakeSlack::start();
        let place = with(&slack, "group_wait: 1h, deliver_since: beginning");
        for (key, enabled, seconds) in [("checkout", false, 90), ("search", false, 80)] {
            place.append("audit.log", Line::flag("created", key, enabled, "").at(ago(seconds)).text());
        }
        place.append("audit.log", Line::flag("updated", "checkout", true, "").at(ago(10)).text());
        let relay = place.run();
        place.wait_for_standing("slack", &json!({"waiting": 3, "undecided": 0, "delivered": 0}));
        assert!(slack.received().is_empty());
        place.append("audit.log", last.text());
        place.wait_for_standing("slack", &json!({"waiting": 1, "delivered": 3, "dead": 0}));
        let said: Vec<String> = slack.messages().iter().map(|message| message.said()).collect();
        assert!(said.iter().all(|said| said.contains("checkout") && !said.contains("search")), "{said:#?}");
        let last = said.last().unwrap();
        assert!(last.contains("OFF") || last.contains("deleted"), "{last}");
        // The limit holds for what is urgent, too: the fake allows one message a second.
        assert!(slack.limited().is_empty());
        drop(relay);
    }
}

#[test]
fn denied_attempts_of_one_actor_are_one_message_an_hour() {
    let slack = FakeSlack::start();
    let place = with(&slack, QUICK);
    let denied = |verb| Line::denied("flag", verb).by("Ben").text();
    place.append("audit.log", denied("updated") + &denied("deleted"));
    let relay = place.run();
    place.wait_for_standing("slack", &all_delivered(2));
    let messages = slack.messages();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert!(messages[0].text().contains("Ben"), "{messages:#?}");
    // A third within the hour is not told, and holds up nobody.
    place.append("audit.log", denied("updated") + &Line::flag("created", "checkout", true, "").text());
    let held = json!({"state": "running", "delivered": 3, "waiting": 1, "dead": 0});
    place.wait_for_standing("slack", &held);
    let messages = slack.wait_for_messages(2);
    assert!(!messages[1].said().contains("Ben"), "{messages:#?}");
    relay.kill();
    // Over a restart, too; another actor is another matter.
    place.append("audit.log", Line::denied("flag", "updated").by("Cas").text());
    let relay = place.run();
    place.wait_for_standing("slack", &json!({"delivered": 4, "waiting": 1, "dead": 0}));
    let messages = slack.messages();
    assert_eq!(messages.len(), 3, "{messages:#?}");
    assert!(messages[2].text().contains("Cas") && !messages[2].said().contains("Ben"), "{messages:#?}");
    drop(relay);
}

#[test]
fn what_changed_nothing_is_not_announced() {
    let slack = FakeSlack::start();
    let place = with(&slack, QUICK);
    let same = |verb, seconds| Line::flag(verb, "checkout", true, "").at(ago(seconds)).text();
    place.append("audit.log", same("created", 400));
    let relay = place.run();
    place.wait_for_standing("slack", &all_delivered(1));
    place.append("audit.log", same("updated", 200) + &same("updated", 3));
    let still = json!({"delivered": 1, "not_routed": 2, "left_out": 2, "waiting": 0, "dead": 0});
    place.wait_for_standing("slack", &still);
    assert_eq!(slack.messages().len(), 1);
    assert!(relay.stop().status.success());
}

#[test]
fn nothing_in_an_event_pings_or_spoofs() {
    let hostile = [
        "<!channel> <!here> <!everyone> <!subteam^S1> <@U1> <#C1>",
        "<https://evil.example.com|Open flag>",
        "& < > &amp; &lt;!channel&gt;",
        "*bold* _italic_ ~gone~ `code` ```pre``` \u{2060}",
        "line\nbreak\r\n> quoted\ttab\u{0}\u{7}",
        "\u{202e}desrever\u{202c} \u{2066}isolated\u{2069} \u{200f}",
        "@channel @here #general http://example.com :tada:",
    ];
    for index in 0..2 {
        let slack = FakeSlack::start();
        let place = place(&accesses(&slack)[index], QUICK);
        for text in hostile {
            let mut payload = flag(text, true, text);
            payload["name"] = text.into();
            place.append("audit.log", Line::new("flag", "created", payload).text());
            let key = json!({"key": text, "name": text, "description": text, "flag_key": text, "id": text,
                "namespace_key": "default", "attachment": json!({text: text}).to_string()});
            place.append("audit.log", Line::new("variant", "created", key).text());
            let constraint = json!({"id": "c", "segment_key": text, "namespace_key": "default", "operator": text,
                "property": text, "type": text, "value": text, "description": text});
            place.append("audit.log", Line::new("constraint", "created", constraint).text());
        }
        place.append(
            "audit.log",
            hostile.map(|text| Line::flag("deleted", text, true, text)).map(|line| line.text()).concat(),
        );
        let relay = place.run();
        place.wait_for_standing("slack", &all_delivered(hostile.len() * 4));
        assert!(relay.stop().status.success());
        // The fake judges, now and when it ends.
        assert_eq!(slack.harms(), Vec::<String>::new());
    }
}

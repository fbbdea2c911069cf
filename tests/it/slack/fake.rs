//! The fake itself: it refuses what Slack refuses, and notices what would ping.

use serde_json::{Value, json};

use crate::support::slack::{harm, malformed};

fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "verbatim": true, "text": text}})
}

fn message(blocks: &[Value]) -> Value {
    json!({"text": "fallback", "blocks": blocks})
}

#[test]
fn every_limit_of_slack_is_known() {
    let long = |length: usize| section(&"x".repeat(length));
    let context = |count: usize| {
        let elements = vec![json!({"type": "mrkdwn", "verbatim": true, "text": "x"}); count];
        json!({"type": "context", "elements": elements})
    };
    let fields = |count: usize, length: usize| {
        let fields = vec![json!({"type": "plain_text", "text": "x".repeat(length)}); count];
        json!({"type": "section", "fields": fields})
    };
    let header = |text: Value| json!({"type": "header", "text": text});
    let all_of = |length: usize| message(&[long(3_000), long(3_000), long(3_000), long(length - 9_000)]);
    let plain = |length: usize| json!({"type": "plain_text", "text": "x".repeat(length)});
    for (body, word) in [
        (json!({"text": "hello"}), None),
        (json!({}), Some("no_text")),
        (json!([]), Some("invalid_payload")),
        (json!({"text": 7}), Some("invalid_payload")),
        (json!({"text": "x".repeat(40_000)}), None),
        (json!({"text": "x".repeat(40_001)}), Some("msg_too_long")),
        (message(&vec![section("x"); 50]), None),
        (message(&vec![section("x"); 51]), Some("invalid_blocks")),
        (json!({"text": "x", "blocks": "[]"}), Some("invalid_blocks_format")),
        (message(&[long(3_000)]), None),
        (message(&[long(3_001)]), Some("invalid_blocks")),
        (message(&[section("")]), Some("invalid_blocks")),
        (message(&[context(10)]), None),
        (message(&[context(11)]), Some("invalid_blocks")),
        (message(&[context(0)]), Some("invalid_blocks")),
        (message(&[fields(10, 1)]), None),
        (message(&[fields(11, 1)]), Some("invalid_blocks")),
        (message(&[fields(1, 2_000)]), None),
        (message(&[fields(1, 2_001)]), Some("invalid_blocks")),
        (message(&[header(plain(150))]), None),
        (message(&[header(plain(151))]), Some("invalid_blocks")),
        (message(&[header(json!({"type": "mrkdwn", "text": "x"}))]), Some("invalid_blocks")),
        (all_of(11_999), None),
        (message(&vec![long(3_000); 5]), Some("msg_blocks_too_long")),
        (message(&[json!({"type": "sektion"})]), Some("invalid_blocks")),
        (message(&[json!({"type": "divider", "colour": "red"})]), Some("invalid_blocks")),
        (message(&[json!({"type": "section"})]), Some("invalid_blocks")),
    ] {
        assert_eq!(malformed(&body), word, "{body:.200}");
    }
}

#[test]
fn whatever_could_ping_or_spoof_is_noticed() {
    for text in [
        "<!channel>",
        "<!here|here>",
        "<!subteam^S1>",
        "<@U1>",
        "<#C1|general>",
        "<https://example.com>",
        "<mailto:ann@example.com|Ann>",
        "a & b",
        "a > b",
        "a < b",
        "&quot;",
        "\u{202e}abc",
        "\u{2067}abc",
        "bell\u{7}",
    ] {
        assert!(harm(&json!({ "text": text })).is_some(), "{text}");
        assert!(harm(&message(&[section(text)])).is_some(), "{text}");
    }
    for text in [
        "*Ann* &amp; &lt;!channel&gt;",
        "<https://example.com/a?b=c&amp;d|here>",
        "<!date^1^{time}|14:14 UTC>",
    ] {
        assert_eq!(harm(&message(&[section(text)])), None, "{text}");
    }
    let not_verbatim = json!({"type": "section", "text": {"type": "mrkdwn", "text": "x"}});
    assert!(harm(&message(&[not_verbatim])).is_some());
    assert!(harm(&json!({"text": "x", "link_names": true})).is_some());
}

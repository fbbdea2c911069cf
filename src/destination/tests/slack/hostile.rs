//! Whatever events hold, no message pings, links, formats, breaks a limit or loses an event.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::telling::{seen, told};
use super::{body, of_set, placed, rendered, webhook};
use crate::destination::Delivery;
use crate::event::EventId;

/// Words as nobody would use them.
fn nasty() -> impl Strategy<Value = String> {
    let fragments = vec![
        "<!channel>",
        "<!here|x>",
        "<!subteam^S1>",
        "<@U123456>",
        "<#C1|a>",
        "<https://evil.example|good>",
        "@here",
        "@everyone",
        ":fire:",
        ":",
        "*",
        "*ON*",
        "_",
        "_x_",
        "~",
        "`",
        "```",
        "&",
        "&amp;",
        "&lt;",
        ">",
        "%%%",
        "\u{202e}",
        "\u{200b}",
        "\u{2066}",
        "\n",
        "\r\n> ",
        "\t",
        "😀",
        "👩‍👩‍👧",
        "é",
        "漢字",
        "https://evil.example/x",
        "a",
        " ",
        "0",
        "\u{0}",
    ];
    prop_oneof![
        proptest::collection::vec(proptest::sample::select(fragments), 0..30).prop_map(|all| all.concat()),
        any::<String>(),
        (proptest::sample::select(vec!["&", "<", "😀", "x", "*"]), 0..3_000_usize)
            .prop_map(|(what, times)| what.repeat(times)),
    ]
}

fn hostile() -> impl Strategy<Value = Vec<Delivery>> {
    let one = (0..7_u8, [nasty(), nasty(), nasty(), nasty()], any::<bool>());
    proptest::collection::vec(one, 1..25).prop_map(|all| {
        (0..).zip(all).map(|(place, (kind, [who, key, text, environment], in_set))| {
            let state = |enabled: bool, text: &str| {
                json!({"key": key, "namespace_key": environment, "name": text, "description": text, "enabled": enabled})
            };
            let (noun, action, payload, before) = match kind {
                0 => ("flag", "updated", state(true, &text), state(false, &who)),
                1 => ("flag", "updated", state(false, &text), state(true, &who)),
                2 => ("flag", "deleted", state(false, &text), state(true, &text)),
                3 => ("constraint", "created", json!({"segment_key": key, "namespace_key": "default", "id": "c",
                    "type": "STRING_COMPARISON_TYPE", "property": text, "operator": "eq", "value": who}), json!({})),
                4 => ("variant", "updated", json!({"flag_key": key, "namespace_key": "n", "id": "v", "key": text,
                    "attachment": text}), json!({"flag_key": key, "id": "v", "key": who, "attachment": who})),
                5 => ("token", "created", json!({"io.flipt.auth.token.name": text}), json!({})),
                _ => ("flag", "updated", Value::Null, json!({})),
            };
            let mut delivery = told(noun, action, &payload, &seen(1, &before));
            let original = String::from_utf8(delivery.record.original).unwrap();
            let original = original.replace("\"Ann\"", &json!(who).to_string());
            delivery.record.original = match kind {
                6 => original.replace("\"payload\":null", "\"payload\":null,\"status\":\"denied\""),
                _ => original,
            }.into();
            delivery.environment = Some(Arc::from(environment.as_str()));
            let delivery = placed(delivery, place);
            if in_set { of_set(delivery, "cs_1") } else { delivery }
        }).collect()
    })
}

/// Takes `<https://…|text>` and `<!date^…|text>` apart; nothing else may stand in angle brackets.
fn without_links(markup: &str) -> String {
    let mut out = String::new();
    let mut rest = markup;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let (inside, after) = rest[at + 1..].split_once('>').unwrap_or_else(|| panic!("{markup}"));
        let (target, text) = inside.split_once('|').unwrap_or_else(|| panic!("{markup}"));
        let is_date = target.strip_prefix("!date^").is_some_and(|date| {
            let (unix, format) = date.split_once('^').unwrap();
            unix.bytes().all(|byte| byte.is_ascii_digit())
                && matches!(format, "{time}" | "{date_short_pretty} {time}")
        });
        assert!(is_date || target.starts_with("https://flipt.example.com/#/namespaces/"), "{markup}");
        out.push_str(text);
        rest = after;
    }
    assert!(!rest.contains('>'), "{markup}");
    out + rest
}

/// What no text of a message may do.
fn judge(text: &str, is_markup: bool) {
    let length = text.encode_utf16().count();
    assert!((1..=3_000).contains(&length), "{length}");
    let bare = without_links(text);
    let bare = bare.replace("&amp;", "+").replace("&lt;", "+").replace("&gt;", "+");
    assert!(!bare.contains(['&', '<', '>', '`', '~', '\r']), "{text}");
    assert!(is_markup || !text.contains(['<', '*', '\n']), "{text}");
    for character in ['\u{202e}', '\u{2066}', '\u{200b}', '\u{0}'] {
        assert!(!bare.contains(character), "{text}");
    }
    for line in bare.lines() {
        // Stars stand in pairs, around words.
        let parts: Vec<&str> = line.split('*').collect();
        assert_eq!(parts.len() % 2, 1, "{line}");
        for bold in parts.iter().skip(1).step_by(2) {
            assert!(!bold.is_empty() && bold.trim() == *bold, "{line}");
        }
        let words: Vec<char> = line.chars().collect();
        let is_word =
            |at: Option<usize>| at.and_then(|at| words.get(at)).is_some_and(char::is_ascii_alphanumeric);
        for (at, character) in words.iter().enumerate() {
            assert!(*character != '_' || is_word(at.checked_sub(1)) && is_word(Some(at + 1)), "{line}");
            assert!(*character != '@' || is_word(at.checked_sub(1)), "{line}");
        }
        for word in line.split_whitespace() {
            let colons: Vec<&str> = word.split(':').collect();
            let names = &colons[1..colons.len().max(2) - 1];
            let is_clock = |name: &&str| name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_digit());
            assert!(colons.len() < 3 || names.iter().all(is_clock), "{line}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn nobody_gets_out_of_a_message(deliveries in hostile()) {
        let rendered = rendered(&webhook(), &deliveries);
        let members = rendered.requests.iter().flat_map(|outbound| &outbound.members).chain(&rendered.left_out);
        let members: Vec<EventId> = members.copied().collect();
        prop_assert_eq!(members.len(), deliveries.len());
        prop_assert_eq!(members.into_iter().collect::<BTreeSet<_>>().len(), deliveries.len());
        prop_assert!(rendered.requests.len() <= 1 && rendered.unrenderable.is_empty());
        for outbound in &rendered.requests {
            let body = body(outbound);
            judge(body["text"].as_str().unwrap(), false);
            let blocks = body["blocks"].as_array().unwrap();
            prop_assert!((1..=50).contains(&blocks.len()));
            let mut total = 0;
            for block in blocks {
                let text = match block["type"].as_str() {
                    Some("section") => &block["text"],
                    _ => {
                        prop_assert_eq!(block["elements"].as_array().unwrap().len(), 1);
                        &block["elements"][0]
                    }
                };
                prop_assert_eq!((&text["type"], &text["verbatim"]), (&json!("mrkdwn"), &json!(true)));
                let text = text["text"].as_str().unwrap();
                judge(text, true);
                total += text.encode_utf16().count();
            }
            prop_assert!(total <= 10_000, "{}", total);
            let all = body.to_string();
            prop_assert!(!all.contains("10.1.2.3") && !all.contains("evt_"));
        }
    }
}

#[test]
fn what_is_huge_or_deep_is_told_in_few_words() {
    let variant = |attachment: &str| json!({"flag_key": "checkout", "namespace_key": "production", "id": "v", "key": "on", "attachment": attachment});
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let huge = format!("{{\"a\":\"{}\"}}", "<!channel> ".repeat(380_000));
    for attachment in [deep, huge] {
        let delivery = told("variant", "updated", &variant(&attachment), &seen(1, &variant("{\"a\":1}")));
        let rendered = rendered(&webhook(), &[delivery]);
        let body = body(&rendered.requests[0]);
        assert!(body.to_string().len() < 1_000, "{body}");
        let text = body["text"].as_str().unwrap();
        assert!(text.starts_with("Ann changed variant on of checkout in production · attachment"), "{text}");
        judge(text, false);
    }
}

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::plan::LinkPlan;
use crate::destination::Delivery;
use crate::destination::telling::accounts;
use crate::destination::tests::deliveries;
use crate::routing::{Owner, Pattern};

fn event(noun: &str, payload: &serde_json::Value) -> Vec<Delivery> {
    let event = serde_json::json!({"type": noun, "action": "created", "payload": payload, "timestamp": "2026-11-22T14:14:02Z"});
    deliveries(&event.to_string())
}

fn links(deliveries: &[Delivery], urls: &[&str]) -> Vec<String> {
    let link = |url: &&str| LinkPlan { title: "A".into(), url: (*url).to_owned() };
    let plan = LinksPlan { templates: urls.iter().map(link).collect(), ..LinksPlan::default() };
    let owner = Owner {
        flags: vec![Pattern::new("check*".to_owned())],
        segments: Vec::new(),
        namespaces: Vec::new(),
        team: "pay & ship".into(),
        slack: None,
        services: Vec::new(),
    };
    let around = Surroundings { owners: Arc::new(Owners(vec![owner])), links: Arc::new(plan) };
    let accounts = accounts(deliveries);
    Links::around(&around).of(&accounts.told[0]).into_iter().map(|link| link.url).collect()
}

fn flag(key: &str) -> Vec<Delivery> {
    event("flag", &serde_json::json!({"key": key, "name": "New ünits", "namespace_key": "default"}))
}

#[test]
fn values_are_encoded_and_what_is_not_known_leaves_its_link_out() {
    let all = "https://x.example.com/{{ kind }}/{{ key }}/{{ name }}/{{ namespace }}/{{ environment }}/{{ instance }}/{{ team }}?t={{ time_ms }}&e={{ event[:4] }}#{{ time }}";
    let made = links(&flag("checkout"), &[all, "https://x.example.com/{{ change_set }}"]);
    assert_eq!(
        made,
        [
            "https://x.example.com/flag/checkout/New%20%C3%BCnits/default/production/flipt/pay%20%26%20ship?t=1795356842000&e=evt_#2026-11-22T14%3A14%3A02Z"
        ]
    );
    let token = event("token", &serde_json::json!({"io.flipt.auth.token.name": "ci"}));
    assert_eq!(links(&token, &["https://x/{{ namespace }}", "https://x/{{ key }}"]), ["https://x/ci"]);
    assert_eq!(
        links(&flag("a"), &["https://x/{{ team }}", "https://x/{{ team | default('none') }}"]),
        ["https://x/none"]
    );
    let only = "{% if kind == 'segment' %}https://x/{% endif %}";
    assert_eq!(links(&flag("a"), &[only]), [""; 0]);
}

#[test]
fn no_key_leads_elsewhere() {
    for key in [
        "../..",
        "@evil.example",
        "//evil.example",
        "a?b#c",
        "x' onclick='",
        "<b>",
        "a|b>",
        "%%%",
        "\u{202e}x",
    ] {
        let made =
            links(&flag(key), &["https://x.example.com/{{ key }}", "https://{{ key }}/x", "{{ key }}"]);
        assert!(
            made.iter().all(|url| url.starts_with("https://x.example.com/") || !url.contains("evil")),
            "{made:?}"
        );
        assert!(
            made[0].bytes().all(|byte| byte.is_ascii_graphic())
                && !made[0].contains(['<', '>', '|', '"', '\''])
        );
    }
    assert_eq!(links(&flag(&"k".repeat(3_000)), &["https://x/{{ key }}"]), [""; 0], "too long is left out");
}

#[test]
fn flags_and_segments_have_a_page_in_flipt() {
    let of = |deliveries: &[Delivery], instance: Option<&str>| {
        let plan = LinksPlan {
            flipt: Some("https://flipt.example.com".into()),
            instance: instance.map(str::to_owned),
            ..LinksPlan::default()
        };
        let accounts = accounts(deliveries);
        Links::new(Arc::new(plan)).of(&accounts.told[0])
    };
    let found = of(&flag("a b"), None);
    assert_eq!(
        (found[0].title.as_str(), found[0].url.as_str()),
        ("Open flag", "https://flipt.example.com/#/namespaces/default/flags/a%20b")
    );
    let constraint = serde_json::json!({"id": "1", "segment_key": "beta", "namespace_key": "default"});
    let found = of(&event("constraint", &constraint), Some("flipt"));
    assert_eq!(found[0].url, "https://flipt.example.com/#/namespaces/default/segments/beta");
    assert_eq!(of(&flag("a"), Some("other")), []);
    assert_eq!(of(&event("namespace", &serde_json::json!({"key": "a"})), None), []);
    assert_eq!(of(&flag(&"k".repeat(1 << 20)), None), [], "no address is that long");
    assert_eq!(of(&flag(&"ü".repeat(400)), None), []);
    assert_eq!(of(&flag(&"k".repeat(1_900)), None).len(), 1);
}

proptest! {
    #[test]
    fn whatever_is_made_is_an_address(key: String, name: String, template in "(https?://)?[a-z.{}%@/ ]{0,20}(\\{\\{ (key|name|team) \\}\\})?[ -~]{0,20}") {
        let payload = serde_json::json!({"key": key, "name": name, "namespace_key": "default"});
        for url in links(&event("flag", &payload), &[&template, "http://h/{{ key }}"]) {
            prop_assert!(url.len() <= MAX_ADDRESS_BYTES);
            prop_assert!(url.bytes().all(|byte| byte.is_ascii_graphic()), "{}", url);
            prop_assert!(!url.contains(['<', '>', '|', '"', '\'', '`', '\\']) && !url.contains("%%"), "{}", url);
            let read = url::Url::parse(&url).unwrap();
            prop_assert!(matches!(read.scheme(), "http" | "https") && read.username().is_empty());
        }
    }
}

#[test]
fn the_history_of_a_flag_is_on_the_status_page_also_when_it_is_gone() {
    let plan = LinksPlan { history: Some("https://audit.example.com".into()), ..LinksPlan::default() };
    let links = Links::new(Arc::new(plan));
    for action in ["created", "deleted"] {
        let event = serde_json::json!({
            "type": "flag", "action": action, "payload": {"key": "a&b", "namespace_key": "default"},
            "timestamp": "2026-11-22T14:14:02Z"
        });
        let deliveries = deliveries(&event.to_string());
        let made = links.of(&accounts(&deliveries).told[0]);
        let url = "https://audit.example.com/?environment=production&flag=a%26b#changes";
        assert_eq!(made, [Link { title: "History".into(), url: url.into() }], "{action}");
    }
}

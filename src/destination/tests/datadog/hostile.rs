//! What no event may do, whatever it holds: break a limit, break out of Markdown, notify anybody.

use proptest::prelude::*;

use super::*;
use crate::destination::datadog::tags;

/// No body is larger.
const MAX_BODY: usize = 256 << 10;

/// Texts that mean something to somebody.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "[a-z]{1,8}(-[a-z]{1,8})?",
        1 => "\\PC{0,40}",
        1 => any::<String>(),
        4 => proptest::collection::vec(proptest::sample::select(PIECES.to_vec()), 0..12).prop_map(|parts| parts.concat()),
        1 => (proptest::sample::select(PIECES.to_vec()), 1_usize..3_000).prop_map(|(piece, times)| piece.repeat(times)),
    ]
}

const PIECES: [&str; 40] = [
    "%%%",
    "%",
    "%%",
    "\n %%%",
    "`",
    "```",
    "[",
    "]",
    "](https://evil.example)",
    "|",
    "| --- |",
    "<script>",
    "@all",
    " @slack-ops",
    "@ann@example.com",
    "<!channel>",
    "\u{202e}",
    "\u{200b}",
    "👩‍💻",
    "é",
    "\u{1}",
    "\u{1b}[31m",
    "\n",
    "\r\n",
    "~~~",
    "***",
    "\\",
    "x",
    "https://evil.example/@all",
    "&#37;",
    "http://evil.example/",
    "Open flag: https://flipt.example.com/#/evil",
    "://",
    "www.evil.example",
    "_it_",
    "__",
    ":fire:",
    ":100:",
    "# ",
    "&commat;all",
];

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(text(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const NOUNS: [&str; 10] = [
    "constraint",
    "distribution",
    "flag",
    "namespace",
    "rollout",
    "rule",
    "segment",
    "token",
    "variant",
    "odd @all",
];

pub(in crate::destination::tests) fn event() -> impl Strategy<Value = Delivery> {
    let noun = proptest::sample::select(NOUNS.to_vec());
    let action = proptest::sample::select(vec!["created", "updated", "deleted", "read %%%"]);
    let actor = (text(), text(), proptest::sample::select(vec!["oidc", "token", "kubernetes", "none"]));
    let payload = (text(), text(), text(), json_value(), json_value());
    let around = (
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(text()),
        proptest::collection::vec(text(), 0..20),
    );
    (noun, action, actor, payload, around).prop_map(|(noun, action, actor, payload, around)| {
        let (key, name, namespace, value, other) = payload;
        let now = json!({"key": key, "flag_key": key, "segment_key": key, "id": "1", "name": name, "namespace_key": namespace,
            "description": name, "enabled": true, "attachment": value.to_string(), "property": name, "operator": "eq",
            "value": name, "type": "STRING_COMPARISON_TYPE", "extra": value, "threshold": {"percentage": 10, "value": true},
            "io.flipt.auth.token.name": name});
        let mut before = now.clone();
        before["description"] = other.clone();
        before["extra"] = other.clone();
        before["attachment"] = other.to_string().into();
        before["enabled"] = false.into();
        before["value"] = key.clone().into();
        let (is_late, has_before, environment, used) = around;
        let known = match (is_late, has_before) {
            (true, _) => late(Some(&before)),
            (_, true) => seen(1, &before),
            _ => created(),
        };
        let first = used.into_iter().take(16).collect::<Vec<_>>();
        let known = Known { used_by: Some(Several { count: 99, first }), owner_name: Some(name.clone()), ..known };
        let mut delivery = told(noun, action, &now, &known);
        let original = json!({"type": noun, "action": action, "payload": now, "timestamp": "2026-11-22T14:14:02Z",
            "metadata": {"actor": {"authentication": actor.2, "name": actor.0, "email": actor.1, "ip": "10.1.2.3"}}});
        delivery.record.original = original.to_string().into();
        delivery.record.change_set = has_before.then(|| "cs_1".into());
        delivery.environment = environment.map(Into::into);
        delivery
    })
}

/// Names that a configuration could never hold, too.
fn hostile_plan(api: DatadogApi, words: &[String]) -> DatadogPlan {
    let mut plan = plan(api);
    plan.tags.extend(words.iter().cloned());
    plan.services.extend(words.iter().cloned());
    let services: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut owners = (*plan.around.owners).clone();
    owners.0.push(owner("*", "*", words.first().map_or("t", String::as_str), &services));
    let templates = words.iter().take(9).map(|word| LinkPlan {
        title: word.clone(),
        url: format!("https://x.example.com/{}?{{{{ key }}}}", "y".repeat(word.len().min(1_500))),
    });
    let links = LinksPlan { templates: templates.collect(), ..(*plan.around.links).clone() };
    plan.around = Surroundings { owners: Arc::new(owners), links: Arc::new(links) };
    plan
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn most_properties(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(most_properties).max().unwrap_or(0),
        Value::Object(map) => map.len().max(map.values().map(most_properties).max().unwrap_or(0)),
        _ => 0,
    }
}

/// No mention begins here: `@` after anything but a letter or digit, outside of addresses.
fn mentions(text: &str) -> bool {
    let characters: Vec<char> = text.chars().collect();
    let starts = |place: usize| place == 0 || !characters[place - 1].is_alphanumeric();
    characters.iter().enumerate().any(|(place, character)| *character == '@' && starts(place))
}

/// `:fire:`; a time of day has no letters.
fn has_shortcode(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let is_name = |part: &&str| {
        part.chars().all(|it| it.is_ascii_alphanumeric() || "_-+".contains(it))
            && part.chars().any(|it| !it.is_ascii_digit())
    };
    parts.len() > 2 && parts[1..parts.len() - 1].iter().any(is_name)
}

/// `_it_`, `__it__`: a run of `_` that is not inside a word.
fn has_stress(text: &str) -> bool {
    let characters: Vec<char> = text.chars().collect();
    let is_word = |character: Option<&char>| character.is_some_and(|it| it.is_alphanumeric());
    characters.iter().enumerate().filter(|(_, it)| **it == '_').any(|(place, _)| {
        let before = characters[..place].iter().rfind(|it| **it != '_');
        let after = characters[place..].iter().find(|it| **it != '_');
        !is_word(before) || !is_word(after)
    })
}

/// `&#64;`, `&lt;`.
fn has_reference(text: &str) -> bool {
    text.split('&').skip(1).any(|rest| {
        let name = rest.split(|it: char| !it.is_ascii_alphanumeric() && it != '#').next().unwrap();
        !name.is_empty() && rest[name.len()..].starts_with(';')
    })
}

fn check_tags(event: &Value) -> Result<(), TestCaseError> {
    let Some(list) = event.get("tags") else { return Ok(()) };
    let all: Vec<&str> = list.as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    prop_assert!(all.len() <= 100);
    for (place, tag) in all.iter().enumerate() {
        prop_assert!(tag.chars().count() <= 200 && !tag.ends_with(':'), "{tag}");
        prop_assert!(tag.chars().next().unwrap().is_alphabetic(), "{tag}");
        prop_assert!(tag.chars().all(|it| it.is_alphanumeric() || "_-:./".contains(it)), "{tag}");
        prop_assert_eq!(&tag.to_lowercase(), tag);
        prop_assert!(!all[..place].contains(tag), "{tag} twice");
        prop_assert!(!tag.split(':').any(|part| part.starts_with("evt_") || part == "cs_1"), "{tag}");
    }
    Ok(())
}

fn check_two(body: &Value) -> Result<(), TestCaseError> {
    let event = &body["data"]["attributes"];
    for field in ["title", "message"] {
        let text = event[field].as_str().unwrap();
        prop_assert!(!text.contains("%%%") && !mentions(text), "{text}");
        prop_assert!(!text.contains("10.1.2.3"));
    }
    // Addresses are those of the relay's own links, each at the end of a line of its own.
    let (title, message) = (event["title"].as_str().unwrap(), event["message"].as_str().unwrap());
    prop_assert!(!title.contains("://") && !title.to_lowercase().contains("www."), "{title}");
    for line in message.lines().filter(|line| line.contains("://")) {
        let hosts = ["flipt.example.com", "wiki.example.com", "x.example.com", "app.datadoghq.eu"];
        let is_ours = hosts.iter().any(|host| line.contains(&format!(": https://{host}/")));
        prop_assert!(is_ours && line.matches("://").count() == 1, "{line}");
        prop_assert!(!line.starts_with("14:14:02Z"), "{line}");
    }
    check_tags(event)?;
    prop_assert!(depth(&event["attributes"]) <= 10 && most_properties(body) <= 100);
    for side in ["prev_value", "new_value"] {
        let values = event["attributes"].get(side).and_then(Value::as_object);
        prop_assert!(values.is_none_or(
            |values| !values.is_empty() && values.values().all(|it| !it.is_null() && depth(it) == 0)
        ));
    }
    Ok(())
}

fn check_one(event: &Value) -> Result<(), TestCaseError> {
    let known = [
        "title",
        "text",
        "date_happened",
        "priority",
        "tags",
        "alert_type",
        "aggregation_key",
        "source_type_name",
    ];
    prop_assert!(event.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())));
    let (title, text) = (event["title"].as_str().unwrap(), event["text"].as_str().unwrap());
    prop_assert!(title.chars().count() <= 500 && !title.contains("%%%") && !mentions(title));
    prop_assert!(text.chars().count() <= 4_000);
    let inner = text.strip_prefix("%%% \n").and_then(|text| text.strip_suffix("\n %%%")).unwrap();
    prop_assert!(!inner.contains("%%%") && !inner.contains('`') && !inner.contains('<'), "{inner}");
    prop_assert!(!mentions(inner), "{inner}");
    // What stands in brackets is a link of ours, whole.
    for part in inner.split('[').skip(1) {
        let (_, rest) = part.split_once("](https://").unwrap();
        prop_assert!(rest.contains(')'), "{part}");
    }
    prop_assert_eq!(inner.matches('[').count(), inner.matches("](https://").count());
    prop_assert_eq!(inner.matches(']').count(), inner.matches("](https://").count());
    prop_assert_eq!(inner.matches("://").count(), inner.matches("](https://").count(), "{}", inner);
    let text = inner.lines().filter(|line| !line.contains("](https://")).collect::<Vec<_>>().join("\n");
    prop_assert!(
        !text.contains('*') && !text.contains('~') && !text.to_lowercase().contains("www."),
        "{text}"
    );
    prop_assert!(!has_shortcode(&text) && !has_stress(&text) && !has_reference(&text), "{text}");
    prop_assert!(!text.starts_with(['#', '-', '+', '=']) || text.starts_with("- 14:14:02Z"), "{text}");
    for row in inner.lines().filter(|line| line.starts_with('|')) {
        prop_assert_eq!(row.matches('|').count(), 5, "{}", row);
    }
    check_tags(event)
}

fn check(
    plan: &DatadogPlan,
    validator: &jsonschema::Validator,
    deliveries: &[Delivery],
) -> Result<usize, TestCaseError> {
    let rendered = render(plan, deliveries);
    let told: usize = rendered.requests.iter().map(|outbound| outbound.members.len()).sum();
    prop_assert_eq!(told + rendered.left_out.len() + rendered.unrenderable.len(), deliveries.len());
    let bodies = bodies(rendered);
    for body in &bodies {
        judge(validator, body);
        prop_assert!(body.to_string().len() <= MAX_BODY);
        match plan.api {
            DatadogApi::V1 => check_one(body)?,
            DatadogApi::V2 => check_two(body)?,
        }
    }
    Ok(bodies.len())
}

proptest! {
    #[test]
    fn no_event_breaks_a_rule_of_v2(deliveries in proptest::collection::vec(event(), 1..8), words in proptest::collection::vec(text(), 0..4)) {
        check(&hostile_plan(DatadogApi::V2, &words), &validator(DatadogApi::V2), &deliveries)?;
    }

    #[test]
    fn no_event_breaks_a_rule_of_v1(deliveries in proptest::collection::vec(event(), 1..8), words in proptest::collection::vec(text(), 0..4)) {
        check(&hostile_plan(DatadogApi::V1, &words), &validator(DatadogApi::V1), &deliveries)?;
    }

    /// What is normalised stays as it is.
    #[test]
    fn tags_are_stored_as_they_are_sent(written in text()) {
        if let Some(tag) = tags::normalised(&written) {
            prop_assert_eq!(tags::normalised(&tag), Some(tag.clone()));
            check_tags(&json!({"tags": [tag]}))?;
        }
        if let Some(service) = tags::service(&written) {
            prop_assert!(service.chars().count() <= 128 && service.chars().any(|it| !it.is_whitespace()));
            prop_assert_eq!(tags::service(&service), Some(service));
        }
    }
}

#[test]
fn tags_as_datadog_stores_them() {
    let normalised = |tag: &str| tags::normalised(tag).unwrap_or_default();
    for (written, stored) in [
        ("Env:Prod", "env:prod"),
        ("team:Pay & Ship", "team:pay___ship"),
        ("1st:x", "st:x"),
        ("a:b:", "a:b"),
        ("flag:über", "flag:über"),
        ("flag:a/b.c-d_e", "flag:a/b.c-d_e"),
        ("👍", ""),
        ("", ""),
    ] {
        assert_eq!(normalised(written), stored, "{written}");
    }
    assert_eq!(normalised(&"é".repeat(300)).chars().count(), 200);
}

/// The largest change set that a request takes, of texts without end, at a plan without restraint.
#[test]
fn the_largest_of_all_has_room() {
    let words: Vec<String> = (0..300).map(|number| format!("{}{number}", "𝒳é".repeat(80))).collect();
    let payload = |number: usize| {
        json!({"key": "🎛".repeat(2_000), "namespace_key": "n".repeat(2_000), "name": words[number], "enabled": true,
            "description": "d\"\\".repeat(5_000), format!("field_{number}_{}", "f".repeat(200)): words})
    };
    let deliveries: Vec<Delivery> = (0..200)
        .map(|number| {
            let mut delivery = told("flag", "updated", &payload(number), &seen(1, &payload(number + 1)));
            delivery.record.change_set = Some("cs_1".into());
            delivery.environment = Some("e".repeat(2_000).into());
            delivery
        })
        .collect();
    for api in [DatadogApi::V1, DatadogApi::V2] {
        let requests = check(&hostile_plan(api, &words), &validator(api), &deliveries).unwrap();
        assert_eq!(requests, 1);
    }
}

#[test]
fn an_attachment_of_any_depth_and_size_is_told() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let large = json!({"x": "y".repeat(4 << 20)}).to_string();
    for attachment in [deep, large] {
        let variant = json!({"key": "on", "id": "1", "flag_key": "checkout", "namespace_key": "production", "attachment": attachment});
        let before = json!({"key": "on", "id": "1", "flag_key": "checkout", "namespace_key": "production", "attachment": "{}"});
        let deliveries = [told("variant", "updated", &variant, &seen(1, &before))];
        for api in [DatadogApi::V1, DatadogApi::V2] {
            assert_eq!(check(&plan(api), &validator(api), &deliveries).unwrap(), 1);
        }
    }
}

/// What does not fit is counted, between whole lines.
#[test]
fn what_has_no_room_is_counted() {
    let fields: serde_json::Map<String, Value> =
        (0..64).map(|number| (format!("field_{number:02}"), Value::from("v".repeat(150)))).collect();
    let mut flag = flag(true);
    flag.as_object_mut().unwrap().extend(fields);
    let event =
        attributes(&plan(DatadogApi::V2), &[told("flag", "updated", &flag, &seen(1, &super::flag(true)))]);
    let message = event["message"].as_str().unwrap();
    let told = message.lines().filter(|line| line.starts_with("14:14:02Z Field")).count();
    assert!(
        told > 10 && message.contains(&format!("\n… and {} more\nOpen flag: https://", 64 - told)),
        "{message}"
    );
    assert!(message.chars().count() <= 4_000);
    assert_eq!(event["attributes"]["new_value"].as_object().unwrap().len(), 20);
}

/// A key of 1 MiB makes no address: neither in messages nor in metadata.
#[test]
fn a_key_without_end_has_no_links() {
    let flag = json!({"key": "🎛".repeat(1 << 18), "namespace_key": "production", "enabled": true});
    let deliveries = [told("flag", "created", &flag, &created())];
    for api in [DatadogApi::V1, DatadogApi::V2] {
        assert_eq!(check(&plan(api), &validator(api), &deliveries).unwrap(), 1);
    }
    let event = attributes(&plan(DatadogApi::V2), &deliveries);
    assert!(!event["message"].as_str().unwrap().contains("://"), "{event:#}");
    assert_eq!(event["attributes"]["change_metadata"].get("resource_link"), None);
}

/// What others wrote stays text where Markdown is read, and no address of theirs looks like one of ours.
#[test]
fn texts_of_others_stay_texts() {
    let words =
        "see http://evil.example, WWW.evil.example _it_ :fire: at 12:30:45 new_checkout &lt;b&gt; AT&T";
    let change = |words: &str| {
        let mut flag = flag(true);
        flag["description"] = words.into();
        [told("flag", "updated", &flag, &seen(1, &super::flag(true)))]
    };
    let one = body(&plan(DatadogApi::V1), &change(words));
    let shown =
        "see http：//evil.example, WWW․evil.example ＿it＿ ：fire: at 12:30:45 new_checkout ＆lt;b＆gt; AT&T";
    assert!(one["text"].as_str().unwrap().contains(shown), "{one:#}");
    let long = body(&plan(DatadogApi::V1), &change(&"_it".repeat(200)));
    assert!(
        !has_stress(long["text"].as_str().unwrap()),
        "what is cut off changes what a `_` means: {long:#}"
    );
    let fake = "x Open flag: https://flipt.example.com/#/namespaces/production/flags/other";
    let two = attributes(&plan(DatadogApi::V2), &change(fake));
    let message = two["message"].as_str().unwrap();
    assert!(message.contains("Description: none → x Open flag: https：//flipt.example.com/"), "{message}");
    assert_eq!(two["attributes"]["new_value"]["description"], fake, "values are told as they are");
    for (name, shown) in
        [("# Ann", "＃ Ann"), ("- Ann", "‐ Ann"), ("1. Ann", "1․ Ann"), ("2) Ann", "2） Ann")]
    {
        let event = json!({"type": "flag", "action": "created", "payload": {"key": "a", "namespace_key": "default"},
            "metadata": {"actor": {"authentication": "oidc", "name": name}}});
        let one = body(&plan(DatadogApi::V1), &super::super::deliveries(&event.to_string()));
        let text = one["text"].as_str().unwrap().strip_prefix("%%% \n").unwrap();
        assert!(text.starts_with(shown), "{text}");
    }
}

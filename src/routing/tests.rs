use super::*;

fn facts<'a>(noun: &'a str, namespace: &'a Namespace, environment: Option<&'a str>) -> Facts<'a> {
    Facts {
        record: RecordKind::Event,
        source: "flipt",
        event: Some(EventFacts { noun, verb: "updated", status: "success" }),
        namespace,
        environment,
    }
}

fn patterns(words: &[&str]) -> Vec<Pattern> {
    words.iter().map(|word| Pattern::new(*word)).collect()
}

fn route(when: Conditions) -> Route {
    Route { name: "r".into(), when, unless: None, to: vec!["d".into()] }
}

#[test]
fn stars_stand_for_any_run() {
    for (pattern, text, expected) in [
        ("prod-*", "prod-eu", true),
        ("prod-*", "prod", false),
        ("*", "", true),
        ("", "", true),
        ("", "x", false),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c", false),
        ("a*a", "a", false),
        ("*-eu", "prod-eu", true),
        ("**", "anything", true),
        ("checkout", "checkout2", false),
    ] {
        assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} on {text}");
    }
}

#[test]
fn lists_are_alternatives_and_keys_hold_together() {
    let known = Namespace::Known("prod-eu".into());
    let route = route(Conditions {
        types: patterns(&["flag", "segment"]),
        namespaces: patterns(&["prod-*"]),
        ..Conditions::default()
    });
    assert!(route.takes(&facts("flag", &known, None)));
    assert!(route.takes(&facts("segment", &known, None)));
    assert!(!route.takes(&facts("token", &known, None)));
    let other = Namespace::Known("staging".into());
    assert!(!route.takes(&facts("flag", &other, None)));
}

#[test]
fn what_is_not_known_matches_only_unknown() {
    let ask = |words: &[&str], unknown_matches| {
        route(Conditions { environments: patterns(words), unknown_matches, ..Conditions::default() })
    };
    let unknown = facts("flag", &Namespace::Unknown, None);
    assert!(!ask(&["production"], false).takes(&unknown));
    assert!(!ask(&["*"], false).takes(&unknown));
    assert!(ask(&["production", "unknown"], false).takes(&unknown));
    assert!(ask(&["production"], true).takes(&unknown));
    let staging = Namespace::Known("s".into());
    assert!(!ask(&["production"], true).takes(&facts("flag", &staging, Some("staging"))));
}

#[test]
fn a_token_has_no_namespace_at_all() {
    let route = route(Conditions { namespaces: patterns(&["*", "unknown"]), ..Conditions::default() });
    assert!(!route.takes(&facts("token", &Namespace::None, None)));
}

#[test]
fn events_only_unless_records_are_asked_for() {
    let gap = Facts { record: RecordKind::Gap, event: None, ..facts("", &Namespace::None, None) };
    assert!(!route(Conditions::default()).takes(&gap));
    let asks = Conditions { record: vec![RecordKind::Gap], ..Conditions::default() };
    assert!(route(asks.clone()).takes(&gap));
    let flag = Namespace::Known("default".into());
    assert!(!route(asks).takes(&facts("flag", &flag, None)));
}

#[test]
fn unless_takes_back() {
    let namespace = Namespace::Known("default".into());
    let mut route = route(Conditions::default());
    route.unless = Some(Conditions {
        events: vec![EventPattern { noun: "flag".into(), verb: "*".into() }],
        ..Conditions::default()
    });
    assert!(!route.takes(&facts("flag", &namespace, None)));
    assert!(route.takes(&facts("rule", &namespace, None)));
}

#[test]
fn facts_of_a_later_version_are_unknown() {
    let namespace = Namespace::Known("default".into());
    let live = Conditions { asks_unknown_facts: true, ..Conditions::default() };
    assert!(!route(live.clone()).takes(&facts("flag", &namespace, None)));
    let lenient = Conditions { unknown_matches: true, ..live };
    assert!(route(lenient).takes(&facts("flag", &namespace, None)));
}

#[test]
fn the_first_environment_wins() {
    let environments = Environments {
        fallback: None,
        rules: vec![
            EnvironmentRule { name: "production".into(), namespaces: patterns(&["prod-*"]) },
            EnvironmentRule { name: "rest".into(), namespaces: patterns(&["*"]) },
        ],
    };
    let of = |key: &str| environments.of(&Namespace::Known(key.into())).map(ToString::to_string);
    assert_eq!(of("prod-eu").as_deref(), Some("production"));
    assert_eq!(of("x").as_deref(), Some("rest"));
    assert_eq!(environments.of(&Namespace::Unknown), None);
}

use super::*;
use crate::flipt::ActorKind;

mod oracle;

static NOBODY: Owners = Owners(Vec::new());

fn facts<'a>(noun: &'a str, namespace: &'a Namespace, environment: Option<&'a str>) -> Facts<'a> {
    Facts {
        record: RecordKind::Event,
        source: "flipt",
        event: Lazy::There(Some(EventFacts { noun, verb: "updated", status: "success" })),
        namespace,
        environment,
        owner: Lazy::There(None),
        actor: Lazy::There(None),
        live: Lazy::There(None),
        change: Lazy::There(None),
        owners: &NOBODY,
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
    let gap =
        Facts { record: RecordKind::Gap, event: Lazy::There(None), ..facts("", &Namespace::None, None) };
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

fn change() -> ChangeFacts {
    ChangeFacts { changed: None, kind: None, live: None, actor_kind: ActorKind::Unknown, actors: Vec::new() }
}

/// A variant of the flag `checkout` in `prod`, with what is known of its change.
fn variant<'a>(namespace: &'a Namespace, change: &'a ChangeFacts) -> Facts<'a> {
    Facts {
        owner: Lazy::There(Some((EntityKind::Flag, "checkout"))),
        actor: Lazy::There(Some(change.into())),
        live: Lazy::There(change.live),
        change: Lazy::There(Some(change.into())),
        ..facts("variant", namespace, Some("production"))
    }
}

fn failed(condition: &'static str, wants: &str, saw: Option<&str>) -> Option<Failed> {
    Some(Failed { condition, wants: wants.into(), saw: saw.map(Into::into) })
}

#[test]
fn keys_are_those_of_the_flag_that_it_belongs_to() {
    let (prod, change) = (Namespace::Known("prod".into()), change());
    let keys = Conditions { keys: patterns(&["check*", "home"]), ..Conditions::default() };
    assert_eq!(keys.failure(&variant(&prod, &change)), None);
    let other = Facts { owner: Lazy::There(Some((EntityKind::Segment, "beta"))), ..variant(&prod, &change) };
    assert_eq!(keys.failure(&other), failed("keys", "check*, home", Some("beta")));
    let namespace = Facts { owner: Lazy::There(Some((EntityKind::Namespace, "checkout"))), ..other };
    assert_eq!(keys.failure(&namespace), failed("keys", "check*, home", Some("no flag or segment")));
    let unknown = Facts { owner: Lazy::There(None), ..other };
    assert_eq!(keys.failure(&unknown), failed("keys", "check*, home", None));
}

#[test]
fn teams_are_those_of_the_owners() {
    let owners = Owners(vec![Owner {
        flags: patterns(&["check*"]),
        segments: Vec::new(),
        namespaces: patterns(&["prod"]),
        team: "payments".into(),
        slack: None,
        services: Vec::new(),
    }]);
    let (prod, dev, change) = (Namespace::Known("prod".into()), Namespace::Known("dev".into()), change());
    let teams = |word: &str| Conditions { teams: patterns(&[word]), ..Conditions::default() };
    let in_prod = Facts { owners: &owners, ..variant(&prod, &change) };
    assert!(teams("payments").hold(&in_prod));
    assert_eq!(teams("growth").failure(&in_prod), failed("teams", "growth", Some("payments")));
    let in_dev = Facts { namespace: &dev, ..in_prod };
    assert_eq!(teams("*").failure(&in_dev), failed("teams", "*", Some("no team")));
    assert_eq!(
        teams("*").failure(&Facts { owner: Lazy::There(None), ..in_prod }),
        failed("teams", "*", None)
    );
}

#[test]
fn actors_go_by_name_and_by_address_in_any_case() {
    let prod = Namespace::Known("prod".into());
    let ann = ChangeFacts { actors: vec!["Ann Example".into(), "Ann@Example.com".into()], ..change() };
    let actors = |word: &str| Conditions { actors: patterns(&[word]), ..Conditions::default() };
    for word in ["ann@example.com", "*@EXAMPLE.com", "Ann *"] {
        assert!(actors(word).hold(&variant(&prod, &ann)), "{word}");
    }
    let saw = Some("Ann Example, Ann@Example.com");
    for word in ["ann example", "bob"] {
        assert_eq!(actors(word).failure(&variant(&prod, &ann)), failed("actors", word, saw));
    }
    assert_eq!(actors("*").failure(&variant(&prod, &change())), failed("actors", "*", None));
}

#[test]
fn any_field_that_changed_will_do_and_nothing_is_not_unknown() {
    let prod = Namespace::Known("prod".into());
    let asks = Conditions { changed: patterns(&["enabled", "unknown"]), ..Conditions::default() };
    let seen = |changed: Option<&[&str]>| {
        let changed = changed.map(|fields| fields.iter().map(|field| (*field).to_owned()).collect());
        asks.failure(&variant(&prod, &ChangeFacts { changed, ..change() }))
    };
    assert_eq!(seen(Some(&["description", "enabled"])), None);
    assert_eq!(seen(None), None);
    let wants = "enabled, unknown";
    assert_eq!(seen(Some(&["description", "name"])), failed("changed", wants, Some("description, name")));
    assert_eq!(seen(Some(&[])), failed("changed", wants, Some("nothing")));
}

#[test]
fn live_is_neither_where_it_is_not_known() {
    let prod = Namespace::Known("prod".into());
    for wanted in [true, false] {
        let asks = Conditions { live: Some(wanted), ..Conditions::default() };
        let seen = |asks: &Conditions, live| asks.failure(&variant(&prod, &ChangeFacts { live, ..change() }));
        assert_eq!(seen(&asks, Some(wanted)), None);
        let other = (!wanted).to_string();
        assert_eq!(seen(&asks, Some(!wanted)), failed("live", &wanted.to_string(), Some(&other)));
        assert_eq!(seen(&asks, None), failed("live", &wanted.to_string(), None));
        let lenient = Conditions { unknown_matches: true, ..asks };
        assert_eq!(seen(&lenient, None), None);
        assert!(seen(&lenient, Some(!wanted)).is_some());
    }
}

#[test]
fn unless_takes_nothing_back_by_accident() {
    let prod = Namespace::Known("prod".into());
    let mut route = route(Conditions::default());
    let unknown = change();
    let known = ChangeFacts { live: Some(false), ..change() };
    route.unless = Some(Conditions { live: Some(false), ..Conditions::default() });
    assert_eq!(route.decision(&variant(&prod, &unknown)), RouteDecision::Takes);
    assert_eq!(route.decision(&variant(&prod, &known)), RouteDecision::Unless);
    // What `when` does with the unknown is no matter of `unless`.
    route.when.unknown_matches = true;
    assert_eq!(route.decision(&variant(&prod, &unknown)), RouteDecision::Takes);
    route.unless = Some(Conditions { live: Some(false), unknown_matches: true, ..Conditions::default() });
    assert_eq!(route.decision(&variant(&prod, &unknown)), RouteDecision::Unless);
}

#[test]
fn every_route_says_why_not() {
    let prod = Namespace::Known("prod".into());
    let named = |name: &str, when| Route { name: name.into(), ..route(when) };
    let events = vec![EventPattern { noun: "flag".into(), verb: "*".into() }];
    let table = RouteTable {
        routes: vec![
            named("all", Conditions::default()),
            named("flags", Conditions { events, live: Some(true), ..Conditions::default() }),
            named("live", Conditions { live: Some(true), ..Conditions::default() }),
            named(
                "gaps",
                Conditions { record: vec![RecordKind::Gap, RecordKind::Act], ..Conditions::default() },
            ),
        ],
        ..RouteTable::default()
    };
    let change = change();
    let told: Vec<String> = table
        .decisions(&variant(&prod, &change))
        .into_iter()
        .map(|(route, decision)| match decision {
            RouteDecision::Takes => format!("{} takes it", route.name),
            RouteDecision::Unless => format!("{}: unless", route.name),
            RouteDecision::When(failed) => format!("{}: {failed}", route.name),
        })
        .collect();
    assert_eq!(
        told,
        [
            "all takes it",
            "flags: `events` asks for flag:*, and this is variant:updated",
            "live: `live` asks for true, and that is not known",
            "gaps: `record` asks for gap, act, and this is event",
        ]
    );
    let gap = Facts { record: RecordKind::Gap, event: Lazy::There(None), ..variant(&prod, &change) };
    let failed = failed("record", "event", Some("gap")).unwrap();
    assert_eq!(table.routes[0].decision(&gap), RouteDecision::When(failed));
}

#[test]
fn events_are_asked_for_only_where_a_route_does() {
    let asks = |when| RouteTable { routes: vec![route(when)], ..RouteTable::default() }.asks_event("d");
    let conditions = Conditions::default;
    assert!(!asks(Conditions { namespaces: patterns(&["a"]), ..conditions() }));
    assert!(!asks(Conditions { teams: patterns(&["a"]), ..conditions() }));
    assert!(asks(Conditions { types: patterns(&["a"]), ..conditions() }));
    assert!(asks(Conditions { actors: patterns(&["a"]), ..conditions() }));
    let mut both = route(Conditions { keys: patterns(&["a"]), ..conditions() });
    both.unless = Some(Conditions { live: Some(true), ..conditions() });
    let table = RouteTable { routes: vec![both], ..RouteTable::default() };
    assert!(table.asks_event("d") && !table.asks_event("other"));
}

#[test]
fn what_is_dear_is_not_asked_for_where_something_cheap_fails() {
    let (prod, change) = (Namespace::Known("prod".into()), change());
    let cheap = Facts {
        event: Lazy::Ask(&|| panic!("the event was read")),
        actor: Lazy::Ask(&|| panic!("the actor was read")),
        live: Lazy::Ask(&|| panic!("what was known was read")),
        change: Lazy::Ask(&|| panic!("before and after were compared")),
        ..variant(&prod, &change)
    };
    let dear = || Conditions {
        events: vec![EventPattern { noun: "variant".into(), verb: "*".into() }],
        actors: patterns(&["*"]),
        changed: patterns(&["enabled"]),
        live: Some(true),
        kind: patterns(&["text"]),
        ..Conditions::default()
    };
    for (when, told) in [
        (Conditions { sources: patterns(&["other"]), ..dear() }, "actors"),
        (Conditions { environments: patterns(&["staging"]), ..dear() }, "environments"),
        (Conditions { namespaces: patterns(&["dev"]), ..dear() }, "namespaces"),
        (Conditions { keys: patterns(&["home"]), ..dear() }, "keys"),
        (Conditions { teams: patterns(&["growth"]), ..dear() }, "teams"),
    ] {
        assert!(!when.hold(&cheap));
        // What is told keeps to its own order.
        let failure = when.failure(&variant(&prod, &change));
        assert_eq!(failure.map(|failed| failed.condition), Some(told));
    }
    let known = Facts { event: variant(&prod, &change).event, ..cheap };
    assert!(!Conditions { types: patterns(&["flag"]), ..dear() }.hold(&known));
}

//! Every problem at once, in words that help.
use super::*;

#[test]
fn every_problem_of_a_nasty_file_at_once() {
    let told = Desk::new().problems(include_str!("nasty.yaml"));
    let expected = include_str!("nasty.txt");
    assert!(told.trim_end() == expected.trim_end(), "{told}");
}

#[test]
fn what_is_no_configuration_at_all() {
    for (text, expected) in [
        ("", "audit-relay.yaml:1:1: `sources` is missing; expected a map"),
        ("# nothing\n", "audit-relay.yaml:1:1: `sources` is missing; expected a map"),
        ("sources:\n", "audit-relay.yaml:1:1: `sources` is missing; expected a map"),
        ("sources: {}\n", "audit-relay.yaml:1:1: sources: an empty map; expected at least one entry"),
        ("- a\n", "audit-relay.yaml:1:1: the configuration is not a map; expected keys such as `sources:`"),
        ("sources: 7\n", "audit-relay.yaml:1:10: sources: this is a number; expected a map"),
    ] {
        assert_eq!(Desk::new().problems(text), expected, "{text}");
    }
}

#[test]
fn a_right_key_in_the_wrong_place_is_recognised() {
    for (key, near) in
        [("level: debug", "`log.level`"), ("keep: 1d", "`journal.keep`"), ("route: {}", "`routes`")]
    {
        let told = Desk::new().problems(&format!("{SOURCES}{key}\n"));
        assert!(told.ends_with(&format!("unknown key; did you mean {near}?")), "{told}");
    }
}

#[test]
fn conditions_that_can_never_hold() {
    let told = |when: &str| {
        Desk::new()
            .load(&format!(
                "{SOURCES}environments: {{production: prod}}\ndestinations: {{d: {{type: console}}}}\nroutes: {{r: {{when: {{{when}}}, to: d}}}}\n"
            ))
            .err()
            .map(|problems| problems.0[0].message.clone())
    };
    for impossible in [
        "statuses: denied, namespaces: prod",
        "statuses: denied, environments: production",
        "types: token, environments: production",
        "events: 'token:*', namespaces: prod",
        "events: 'flag:updated', actions: deleted",
        "namespaces: other, environments: production",
        "record: [gap, act], types: flag",
    ] {
        assert!(told(impossible).is_some_and(|why| why.starts_with("can never hold")), "{impossible}");
    }
    for possible in [
        "statuses: denied, namespaces: [prod, unknown]",
        "statuses: denied, namespaces: prod, unknown: match",
        "statuses: [denied, success], namespaces: prod",
        "types: [token, flag], namespaces: prod",
        "namespaces: 'pr*', environments: production",
        "record: [gap, event], types: flag",
        "types: 'f*', actions: '*ed', environments: 'prod*'",
    ] {
        assert_eq!(told(possible), None, "{possible}");
    }
}

#[test]
fn admin_beyond_loopback_wants_a_token() {
    let yaml = format!("{SOURCES}admin: {{listen: ':9465'}}\n");
    assert!(Desk::new().problems(&yaml).contains("admin.listen: beyond loopback without a token"));
    let with_token = Desk::new().variable("AUDIT_RELAY__ADMIN__TOKEN", "t").load(&yaml);
    assert!(with_token.is_ok());
}

#[test]
fn the_listeners_may_not_share_a_port() {
    for listeners in ["admin: {listen: '127.0.0.1:9464'}", "health: {listen: '127.0.0.1:9465'}"] {
        let problems = Desk::new().problems(&format!("{SOURCES}{listeners}\n"));
        assert!(problems.contains("admin.listen: the same port as that of `health.listen`"), "{problems}");
    }
    let any = "health: {listen: '127.0.0.1:0'}\nadmin: {listen: '127.0.0.1:0'}\n";
    assert!(Desk::new().load(&format!("{SOURCES}{any}")).is_ok());
}

#[test]
fn listeners_are_acted_on() {
    let yaml = format!(
        "{SOURCES}health: {{listen: ':9000'}}\nadmin: {{external_url: https://audit.example.com/}}\n"
    );
    let loaded = Desk::new().load(&yaml).unwrap();
    assert!(loaded.notes.is_empty(), "{:?}", loaded.notes);
    assert_eq!(loaded.plan.admin.external_url.as_deref(), Some("https://audit.example.com"));
}

//! Conditions on owners, changes and actors: what they may say, and when they can never hold.
use super::*;
use crate::event::{EntityKind, Namespace};

const OWNERS: &str = "\
owners:
- {flags: 'checkout*', team: payments, slack: '#payments', services: [checkout-api, cart]}
- {segments: beta, namespaces: prod, team: growth}
- {namespaces: 'mobile-*', team: mobile}
";

fn yaml(when: &str) -> String {
    format!(
        "{SOURCES}environments: {{production: prod}}\ndestinations: {{d: {{type: console}}}}\n{OWNERS}routes:\n  r: {{when: {{{when}}}, to: d}}\n"
    )
}

fn problem(when: &str) -> Option<String> {
    Desk::new().load(&yaml(when)).err().map(|problems| problems.to_string())
}

#[test]
fn every_entry_of_owners_that_fits_counts() {
    let plan = Desk::new().load(&yaml("types: flag")).unwrap().plan;
    let owners = &plan.routes.owners;
    let (prod, mobile) = (Namespace::Known("prod".into()), Namespace::Known("mobile-eu".into()));
    let teams = |kind, key, namespace| owners.teams_of(kind, key, namespace);
    let (flag, segment) = (EntityKind::Flag, EntityKind::Segment);
    assert_eq!(teams(flag, "checkout-v2", &prod), ["payments"]);
    assert_eq!(teams(flag, "checkout-v2", &mobile), ["payments", "mobile"]);
    assert_eq!(teams(flag, "beta", &prod), Vec::<&str>::new());
    assert_eq!(teams(segment, "beta", &prod), ["growth"]);
    assert_eq!(teams(segment, "beta", &mobile), ["mobile"]);
    assert_eq!(teams(segment, "beta", &Namespace::Unknown), Vec::<&str>::new());
    assert_eq!(teams(EntityKind::Namespace, "mobile-eu", &mobile), ["mobile"]);
    assert_eq!(teams(EntityKind::Namespace, "prod", &prod), Vec::<&str>::new());
    assert_eq!(teams(EntityKind::Token, "beta", &Namespace::None), Vec::<&str>::new());
    let owner = owners.of(flag, "checkout", &prod).next().unwrap();
    assert_eq!(owner.slack.as_deref(), Some("#payments"));
    assert_eq!(owner.services.iter().map(|service| &**service).collect::<Vec<_>>(), ["checkout-api", "cart"]);
}

#[test]
fn words_that_nothing_has_are_refused_with_the_nearest_right_one() {
    for (when, expected) in [
        (
            "teams: paymnts",
            "routes.r.when.teams[0]: no entry of `owners` names this team; expected `growth`, `mobile`, `payments` or `unknown`; did you mean `payments`?",
        ),
        ("changed: enabld", "did you mean `enabled`?"),
        (
            "changed: [enabled, metadata]",
            "routes.r.when.changed[1]: no event shows such a field; expected `attachment`",
        ),
        ("kind: behavior", "did you mean `behaviour`?"),
        ("kind: 'be*'", "not a word that is known here"),
        ("actor_kind: machine", "expected `person`, `token`, `automation` or `unknown`"),
        ("live: maybe", "routes.r.when.live: this is text; expected `true` or `false`"),
    ] {
        let told = problem(when).unwrap();
        assert!(told.contains(expected), "{when}: {told}");
    }
    for right in [
        "teams: 'pay*'",
        "teams: [unknown]",
        "changed: ['rollout*', unknown]",
        "kind: [behaviour, unknown]",
        "actor_kind: [person, unknown]",
        "actors: ['*@example.com', 'Ann *']",
        "keys: 'checkout*', live: false",
    ] {
        assert_eq!(problem(right), None, "{right}");
    }
}

#[test]
fn conditions_that_can_never_hold() {
    for (impossible, why) in [
        ("statuses: denied, keys: a", "a denied event does not tell its flag or segment"),
        ("statuses: denied, teams: payments", "nor so its team"),
        ("statuses: denied, changed: enabled", "a denied event does not tell its change"),
        ("statuses: denied, live: true", "a denied event changes nothing"),
        ("statuses: denied, kind: behaviour", "a denied event is of kind `access`"),
        ("types: token, keys: a", "tokens have no flag or segment"),
        ("types: token, teams: payments", "tokens have no team"),
        ("types: token, statuses: success, namespaces: unknown", "tokens have no namespace"),
        ("types: token, live: true", "flags and segments alone"),
        ("types: token, kind: text", "of kind `access`"),
        ("events: 'namespace:*', keys: a", "a namespace has no flag or segment"),
        ("types: segment, changed: enabled", "no type that is left has any field of `changed`"),
        ("events: ['rule:*', 'distribution:*'], changed: name", "has any field of `changed`"),
        ("kind: access, live: true", "`live` is not known of what is of kind `access`"),
        ("kind: access, types: flag, statuses: success", "only tokens, namespaces and denied events"),
        ("record: gap, live: true", "`live` is not known"),
        ("record: [gap, unparsed], keys: a", "`keys` is not known"),
    ] {
        let told = problem(impossible).unwrap_or_default();
        assert!(told.contains(": can never hold: ") && told.contains(why), "{impossible}: {told}");
        let unless = yaml("types: flag").replace("to: d}", &format!("unless: {{{impossible}}}, to: d}}"));
        let told = Desk::new().load(&unless).err().map(|problems| problems.to_string()).unwrap_or_default();
        assert!(told.contains("routes.r.unless: can never hold: "), "{impossible}: {told}");
    }
    for possible in [
        "statuses: denied, keys: [a, unknown]",
        "statuses: denied, live: true, unknown: match",
        "statuses: [denied, success], changed: enabled",
        "types: token, namespaces: unknown",
        "types: token, live: true, unknown: match",
        "types: [token, flag], keys: a",
        "types: segment, changed: [enabled, unknown]",
        "types: segment, changed: enabled, unknown: match",
        "types: [segment, flag], changed: enabled",
        "kind: access, types: flag",
        "kind: access, live: true, unknown: match",
        "record: [gap, event], types: flag, live: true",
        "record: gap, keys: unknown",
        "record: [event, gap], types: token, keys: a, unknown: match",
    ] {
        assert_eq!(problem(possible), None, "{possible}");
    }
}

#[test]
fn a_team_is_a_name() {
    for (owners, expected) in [
        (
            "[{flags: a, team: 'pay*'}]",
            "audit-relay.yaml:2:21: owners[0].team: a team has a name, not a pattern",
        ),
        ("[{flags: a, team: unknown}]", "owners[0].team: a team has a name"),
        ("[{flags: a}]", "owners[0]: `team` is missing"),
        ("[{team: a, services: b}]", "owners[0]: this team owns nothing"),
    ] {
        let told = Desk::new().problems(&format!("{SOURCES}owners: {owners}\n"));
        assert!(told.contains(expected), "{told}");
    }
}

//! Samples and the destinations that they reach.
use super::*;

const ROUTED: &str = "\
environments: {production: prod}
sources: {flipt: {type: file, path: /a}}
destinations: {chat: {type: console}, store: {type: console}, oncall: {type: console}}
owners: [{flags: 'checkout*', team: payments}]
routes:
  live: {when: {environments: production, live: true}, unless: {types: variant}, to: chat}
  payments: {when: {teams: payments}, to: chat}
  denied: {when: {statuses: denied}, to: oncall}
  all: {to: store}
tests:
";

fn failed(tests: &str) -> Vec<String> {
    let desk = Desk::new();
    let loaded = desk.load(&format!("{ROUTED}{tests}")).unwrap();
    let directory = format!("{}/", desk.directory.path().display());
    loaded.failed_tests.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
}

#[test]
fn samples_that_go_where_they_must() {
    let none = Vec::<String>::new();
    assert_eq!(
        failed(
            "\
- name: a live flag in production
  event: {type: flag, action: updated, payload: {key: home, namespace_key: prod}}
  live: true
  to: [chat, store]
- event: {type: flag, action: updated, payload: {key: home, namespace_key: prod}}
  live: false
  to: store
- event: {type: variant, action: created, payload: {id: v, flag_key: home, namespace_key: prod}}
  live: true
  to: store
- event: {type: rule, action: updated, payload: {id: r, flag_key: checkout-v2, namespace_key: dev}}
  not_to: oncall
- event: {type: distribution, action: updated, payload: {id: d, rule_id: r, variant_id: v, rollout: 50}}
  flag: checkout
  to: [store, chat]
- event: {type: distribution, action: updated, payload: {id: d, rule_id: r, variant_id: v, rollout: 50}}
  to: store
- event: {type: flag, action: updated, status: denied}
  source: flipt
  to: [store, oncall]
"
        ),
        none
    );
}

#[test]
fn a_sample_changes_what_its_author_says() {
    let routed = ROUTED.replace("  all: {to: store}\n", "  on: {when: {changed: enabled}, to: store}\n  new: {when: {changed: unknown}, to: oncall}\n  text: {when: {kind: text}, to: chat}\n");
    let flag = "{key: home, namespace_key: dev, enabled: true, name: Home, description: a}";
    let tests = format!(
        "\
- {{event: {{type: flag, action: updated, payload: {flag}}}, before: {{enabled: false}}, to: store}}
- {{event: {{type: flag, action: updated, payload: {flag}}}, before: {{description: b}}, to: chat}}
- {{event: {{type: flag, action: updated, payload: {flag}}}, before: {{enabled: true}}, to: chat}}
- {{event: {{type: flag, action: updated, payload: {flag}}}, to: oncall}}
- {{event: {{type: flag, action: created, payload: {flag}}}, to: store}}
- {{event: {{type: flag, action: deleted, payload: {{key: home, namespace_key: dev}}}}, before: {{enabled: true}}, to: store}}
- {{event: {{type: flag, action: deleted, payload: {{key: home, namespace_key: dev}}}}, to: oncall}}
"
    );
    let loaded = Desk::new().load(&format!("{routed}{tests}")).unwrap();
    let failed: Vec<String> = loaded.failed_tests.iter().map(ToString::to_string).collect();
    assert_eq!(failed, Vec::<String>::new());
}

#[test]
fn what_goes_elsewhere_is_told_with_the_route_that_decided() {
    assert_eq!(
        failed(
            "\
- name: home page
  event: {type: flag, action: updated, payload: {key: home, namespace_key: prod}}
  to: [chat]
- event: {type: variant, action: created, payload: {id: v, flag_key: home, namespace_key: prod}}
  live: true
  to: [store, chat, oncall]
- event: {type: flag, action: created, payload: {key: checkout, namespace_key: dev}}
  not_to: [chat, oncall]
- event: {type: token, action: created, payload: {io.flipt.auth.token.name: ci}}
"
        ),
        [
            "audit-relay.yaml:13:3: tests[0].to: `home page`: `store` gets it: route `all` takes it",
            "audit-relay.yaml:13:8: tests[0].to[0]: `home page`: `chat` does not get it: route `live`: `live` asks for true, and that is not known; route `payments`: `teams` asks for payments, and this is no team",
            "audit-relay.yaml:16:15: tests[1].to[1]: `chat` does not get it: route `live`: its `unless` holds; route `payments`: `teams` asks for payments, and this is no team",
            "audit-relay.yaml:16:21: tests[1].to[2]: `oncall` does not get it: route `denied`: `statuses` asks for denied, and this is success",
            "audit-relay.yaml:18:12: tests[2].not_to[0]: `chat` gets it: route `payments` takes it",
            "audit-relay.yaml:19:3: tests[3]: `store` gets it: route `all` takes it",
        ]
    );
}

#[test]
fn samples_that_are_none() {
    let one = |test: &str| failed(&format!("- {test}\n")).join("\n");
    for (test, expected) in [
        ("{event: {action: created}, to: store}", "tests[0].event: no audit event: \"type\" is missing"),
        (
            "{event: {type: flg, action: created}, to: store}",
            "tests[0].event: Flipt has no such type; expected `constraint`",
        ),
        (
            "{event: {type: flag, action: create}, to: store}",
            "Flipt has no such action; expected `created`, `updated` or `deleted`; did you mean `created`?",
        ),
        ("{event: {type: flag, action: created, status: no}, to: store}", "Flipt has no such status"),
        (
            "{event: {type: flag, action: created, paylod: {}}, to: store}",
            "`paylod` is no key of an event; expected `version`",
        ),
        (
            "{event: {type: flag, action: updated, status: denied, payload: {key: a}}, to: store}",
            "a denied event has no payload",
        ),
        (
            "{event: {type: flag, action: created, payload: {key: a}}, before: {key: b}, to: store}",
            "tests[0].before: what is created was not there before",
        ),
        (
            "{event: {type: flag, action: created}, source: flp, to: store}",
            "tests[0].source: there is no such source; expected `flipt`",
        ),
    ] {
        let told = one(test);
        assert!(told.contains(expected), "{test}: {told}");
    }
    let two = ROUTED.replace("sources: {", "sources: {b: {type: file, path: /b, instance: b}, ");
    let loaded = Desk::new().load(&format!("{two}- {{event: {{type: flag, action: created}}}}\n")).unwrap();
    let told = loaded.failed_tests[0].to_string();
    assert!(
        told.ends_with("there are several sources, and this says not which; expected `b` or `flipt`"),
        "{told}"
    );
}

#[test]
fn names_of_samples_must_be_right() {
    let told = Desk::new().problems(&format!(
        "{ROUTED}- {{event: {{type: flag, action: created}}, to: chatt, not_to: [stor]}}\n"
    ));
    assert!(told.contains("tests[0].to[0]: there is no such destination; expected `chat`, `oncall` or `store`; did you mean `chat`?"), "{told}");
    assert!(told.contains("tests[0].not_to[0]: there is no such destination"), "{told}");
}

//! Sources that take pushes: whom they believe, where they listen.
use super::*;
use crate::config::plan::{HttpSourcePlan, SigningScheme, SourceKind};

fn source(keys: &str) -> String {
    format!(
        "sources: {{push: {{type: http, {keys}}}}}\ndestinations: {{d: {{type: console}}}}\nroutes: {{r: {{to: d}}}}\n"
    )
}

fn plan(loaded: &Loaded) -> &HttpSourcePlan {
    let SourceKind::Http(http) = &loaded.plan.sources["push"].kind else { panic!() };
    http
}

fn warned(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
}

#[test]
fn what_is_written_is_what_is_meant() {
    let desk = Desk::new().variable("NEW", "new").variable("OLD", "old").variable("TOKEN", "token");
    let keys = "listen: '127.0.0.1:0', signing: {scheme: flipt, secrets: [{env: NEW}, {env: OLD}]}, bearer: {env: TOKEN}, tls: {cert: /c.pem, key: /k.pem, ca: /a.pem}, max_body: 1MiB";
    let loaded = desk.load(&source(keys)).unwrap();
    assert_eq!((warned(&loaded), &loaded.notes), (vec![], &vec![]));
    let plan = plan(&loaded);
    assert_eq!(plan.listen.to_string(), "127.0.0.1:0");
    let [signing] = &plan.signing.as_ref().unwrap()[..] else { panic!() };
    let secrets: Vec<&str> = signing.secrets.iter().map(|secret| secret.expose()).collect();
    assert_eq!((signing.scheme, &secrets[..]), (SigningScheme::Flipt, &["new", "old"][..]));
    assert_eq!(plan.bearer.as_ref().unwrap().expose(), "token");
    assert_eq!(plan.tls.identity, Some(("/c.pem".into(), "/k.pem".into())));
    assert_eq!((plan.tls.ca.clone(), plan.max_body_bytes), (Some("/a.pem".into()), 1 << 20));

    let loaded = desk.load(&source("bearer: {env: TOKEN}")).unwrap();
    let plan = self::plan(&loaded);
    assert_eq!((plan.listen.to_string().as_str(), plan.max_body_bytes), ("0.0.0.0:8787", 8 << 20));
    assert_eq!(plan.signing.as_ref().unwrap().len(), 0);
}

#[test]
fn that_anybody_may_push_must_be_written() {
    let desk = Desk::new();
    let problems = desk.problems(&source("listen: ':0'"));
    assert!(problems.contains("sources.push: anybody who reaches this address could push"), "{problems}");
    assert!(problems.contains("`signing: none` where that is meant"), "{problems}");
    let loaded = desk.load(&source("signing: none, listen: '127.0.0.1:8787'")).unwrap();
    assert_eq!(warned(&loaded), [""; 0]);
    assert_eq!(plan(&loaded).signing.as_ref().unwrap().len(), 0);
    let beyond = |keys: &str| warned(&desk.load(&source(keys)).unwrap());
    let warning = "sources.push.signing: anybody who reaches this address may push, from beyond this machine too: `listen` says where";
    assert_eq!(beyond("signing: none"), [warning]);
    assert_eq!(beyond("signing: none, tls: {cert: /c, key: /k}"), [warning]);
    assert_eq!(beyond("signing: none, tls: {cert: /c, key: /k, ca: /a}"), [""; 0]);
    let problems = desk.problems(&source("signing: nobody"));
    assert!(problems.contains("a map, or a list of such, or `none`"), "{problems}");
    let by_variable = Desk::new().variable("AUDIT_RELAY__SOURCES__PUSH__SIGNING", "none");
    assert_eq!(warned(&by_variable.load(&source("listen: '127.0.0.1:1'")).unwrap()), [""; 0]);
    // Its schema takes it, and editors with it.
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let is_valid = |keys: &str| validator.is_valid(&schema::yaml_as_json(&source(keys)));
    assert!(is_valid("signing: none") && is_valid("signing: {scheme: flipt, secrets: {env: A}}"));
    assert!(!is_valid("signing: nobody") && !is_valid("signing: []"));
}

#[test]
fn a_missing_secret_stops_the_source_alone_and_is_a_problem_for_check() {
    let yaml = source("signing: {scheme: flipt, secrets: [{env: A}, {env: MISSING}]}");
    let mut desk = Desk::new().variable("A", "a");
    let loaded = desk.load(&yaml).unwrap();
    let why = plan(&loaded).signing.as_ref().unwrap_err();
    assert!(why.starts_with("signing.secrets[1]: ") || why.starts_with("signing[0].secrets[1]: "), "{why}");
    assert!(why.contains("MISSING"), "{why}");
    assert_eq!(loaded.warnings.len(), 1);
    let bearer = source("bearer: {file: /nowhere/token}");
    let loaded = desk.load(&bearer).unwrap();
    assert!(plan(&loaded).signing.as_ref().unwrap_err().starts_with("bearer: "));
    for references in [References::Require, References::Ignore] {
        desk.references = references;
        assert_eq!(desk.load(&yaml).is_err(), references == References::Require);
        assert_eq!(desk.load(&bearer).is_err(), references == References::Require);
    }
    let desk = Desk::new().variable("A", "not of its form");
    let loaded = desk.load(&source("signing: {scheme: standard_webhooks, secrets: [{env: A}]}")).unwrap();
    assert!(plan(&loaded).signing.is_err());
}

#[test]
fn what_cannot_be_is_told() {
    let desk = Desk::new().variable("A", "a");
    for (keys, wanted) in [
        ("bearer: {env: A}, tls: {cert: /c}", "sources.push.tls.cert: no `key` beside it"),
        ("bearer: {env: A}, tls: {ca: /c}", "sources.push.tls: TLS without a certificate"),
        ("bearer: {env: A}, max_body: 1GiB", "at most `64MiB`"),
        ("bearer: plain", "a secret is written in place"),
        (
            "bearer: {env: A}, signing: [{scheme: flipt, secrets: {env: A}}, {scheme: flipt, secrets: {env: A}}]",
            "listed twice",
        ),
    ] {
        let problems = desk.problems(&source(keys));
        assert!(problems.contains(wanted), "{keys}: {problems}");
    }
    let two = |one: &str, other: &str| {
        format!(
            "sources: {{a: {{type: http, bearer: {{env: A}}, listen: '{one}'}}, b: {{type: http, bearer: {{env: A}}, listen: '{other}'}}}}\n"
        )
    };
    let problems = desk.problems(&two(":8787", "127.0.0.1:8787"));
    assert!(problems.contains("sources.b.listen: the same port as that of `a`"), "{problems}");
    assert!(desk.load(&two("127.0.0.1:0", "127.0.0.1:0")).is_ok());
    assert!(desk.load(&two("127.0.0.1:8787", "127.0.0.2:8787")).is_ok());
}

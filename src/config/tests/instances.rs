//! Which sources see all of a Flipt, and which Flipt is asked.
use super::*;

const REST: &str = "destinations: {d: {type: console}}\nroutes: {r: {to: d}}\n";

fn writers(sources: &str) -> (Vec<bool>, Vec<String>) {
    let loaded = Desk { references: References::Ignore, ..Desk::new() }
        .load(&format!("sources: {sources}\n{REST}"))
        .unwrap();
    let told = loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message));
    (loaded.plan.sources.values().map(|source| source.single_writer).collect(), told.collect())
}

#[test]
fn the_only_source_of_an_instance_sees_everything() {
    assert_eq!(writers("{a: {type: file, path: /a}}"), (vec![true], vec![]));
    let two = "{a: {type: file, path: /a, instance: one}, b: {type: file, path: /b, instance: two}}";
    assert_eq!(writers(two), (vec![true, true], vec![]));
}

#[test]
fn one_of_several_does_not_unless_somebody_vouches() {
    let (seen, told) = writers("{a: {type: file, path: /a}, b: {type: file, path: /b}}");
    assert_eq!(seen, [false, false]);
    assert_eq!(
        told,
        [
            "sources.a: the instance `flipt` has several sources: the state before a change is not told for it (write `single_writer: true` on those of its sources that see every change)"
        ]
    );
    let vouched = "{a: {type: file, path: /a, single_writer: true}, b: {type: file, path: /b}}";
    let (seen, told) = writers(vouched);
    assert_eq!(seen, [true, false]);
    assert!(told[0].starts_with("sources.b: the instance `flipt`"), "{told:?}");
    assert_eq!(writers("{a: {type: file, path: /a, single_writer: false}}"), (vec![false], vec![]));
}

#[test]
fn a_directory_for_each_replica_is_remarked() {
    let (seen, told) = writers("{a: {type: file, path: [/a/audit.log, '/logs/*/audit.log']}}");
    assert_eq!((seen, told.len()), (vec![false], 1));
    assert!(told[0].starts_with("sources.a.path[1]: several replicas of Flipt may write here"), "{told:?}");
    for written in ["true", "false"] {
        let source = format!("{{a: {{type: file, path: '/logs/*/audit.log', single_writer: {written}}}}}");
        assert_eq!(writers(&source), (vec![written == "true"], vec![]));
    }
    // A glob of names is one directory, as for files that Flipt begins anew.
    assert!(
        writers("{a: {type: file, path: '/logs/audit-*.log'}}")
            .1
            .iter()
            .all(|told| !told.contains("replicas"))
    );
}

#[test]
fn the_flipt_that_is_asked() {
    let yaml = |flipt: &str| format!("flipt: {flipt}\n{SOURCES}{REST}");
    let desk = Desk::new().variable("T", "s3cr3t");
    let plan = desk
        .load(&yaml(
            "{url: 'http://127.0.0.1:8080', token: {env: T}, external_url: https://flipt.example.com}",
        ))
        .unwrap()
        .plan;
    let flipt = plan.flipt.unwrap();
    assert_eq!((flipt.url.expose(), flipt.instance.as_str()), ("http://127.0.0.1:8080", "flipt"));
    assert_eq!(flipt.token.unwrap().expose(), "s3cr3t");
    assert_eq!(flipt.external_url.as_deref(), Some("https://flipt.example.com"));
    let plan = desk.load(&yaml("{external_url: https://flipt.example.com}")).unwrap().plan;
    assert!(plan.flipt.is_none());
    assert_eq!(plan.external_url.as_deref(), Some("https://flipt.example.com"));
    assert_eq!(
        desk.problems(&yaml("{external_url: {env: T}}")),
        "audit-relay.yaml:1:23: flipt.external_url: not an address, in the environment variable `T`; expected an address such as `https://audit.example.com/flipt`"
    );
}

#[test]
fn a_flipt_whose_token_is_missing_is_not_asked_and_stops_nothing() {
    let yaml = format!(
        "flipt: {{url: 'http://127.0.0.1:8080', token: {{env: NO_SUCH}}, external_url: https://f.example.com}}\n{SOURCES}{REST}"
    );
    let mut desk = Desk::new();
    let loaded = desk.load(&yaml).unwrap();
    assert!(loaded.plan.flipt.is_none());
    assert_eq!(loaded.plan.external_url.as_deref(), Some("https://f.example.com"));
    let told: Vec<&str> = loaded.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(told, ["flipt", "flipt.token"]);
    desk.references = References::Require;
    assert!(desk.problems(&yaml).contains("flipt.token"));
}

#[test]
fn the_instance_that_is_asked_must_be_one_of_the_sources() {
    let yaml = |flipt: &str| {
        format!(
            "flipt: {flipt}\nsources: {{a: {{type: file, path: /a, instance: east}}, b: {{type: file, path: /b, instance: west}}}}\n{REST}"
        )
    };
    let desk = Desk::new();
    let plan = desk.load(&yaml("{url: 'http://127.0.0.1:8080', instance: west}")).unwrap().plan;
    assert_eq!(plan.flipt.unwrap().instance, "west");
    assert_eq!(
        desk.problems(&yaml("{url: 'http://127.0.0.1:8080'}")),
        "audit-relay.yaml:1:1: flipt: sources belong to several instances, and this is one; expected `instance: east` or another of them"
    );
    assert_eq!(
        desk.problems(&yaml("{url: 'http://127.0.0.1:8080', instance: wst}")),
        "audit-relay.yaml:1:49: flipt.instance: no source belongs to it; expected `east` or `west`; did you mean `west`?"
    );
    // Nothing is asked: nobody needs to know which it is.
    assert!(desk.load(&yaml("{external_url: https://f.example.com}")).is_ok());
}

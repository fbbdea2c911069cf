//! Defaults, file, environment, included files.
use super::*;
use crate::config::plan::LogFormat;

#[test]
fn the_environment_overrides_the_file_and_the_file_the_defaults() {
    let file = format!("{SOURCES}log: {{level: warn, format: json}}\n");
    let desk = Desk::new();
    let plan = desk.load(&file).unwrap().plan;
    assert_eq!((plan.log.level.as_str(), plan.log.format), ("warn", Some(LogFormat::Json)));
    let desk = Desk::new()
        .variable("AUDIT_RELAY__LOG__LEVEL", "debug")
        .variable("AUDIT_RELAY__NAME", "007")
        .variable("AUDIT_RELAY__JOURNAL__KEEP", "30d")
        .variable("AUDIT_RELAY__SOURCES__FLIPT__PATH", "[/a.log, /b.log]")
        .variable("AUDIT_RELAY__DESTINATIONS__SCREEN__TYPE", "console")
        .variable("AUDIT_RELAY__DESTINATIONS__SCREEN__BATCH__MAX_EVENTS", "7")
        .variable("AUDIT_RELAY__ROUTES__ALL__TO", "screen");
    let plan = desk.load(&file).unwrap().plan;
    assert_eq!((plan.log.level.as_str(), plan.log.format), ("debug", Some(LogFormat::Json)));
    assert_eq!(plan.name, "007");
    assert_eq!(plan.journal.keep.as_secs(), 30 * 86_400);
    assert_eq!(plan.destinations["screen"].batch.max_events, 7);
    let plan::SourceKind::File(source) = &plan.sources["flipt"].kind else { panic!() };
    assert_eq!(source.paths, ["/a.log", "/b.log"]);
    assert_eq!(plan.routes.routes[0].to, ["screen"]);
}

#[test]
fn secrets_may_stand_in_variables_whatever_they_look_like() {
    let yaml = format!(
        "{SOURCES}destinations: {{d: {{type: webhook, url: https://a.example.com}}}}\nroutes: {{r: {{to: d}}}}\n"
    );
    for (text, expected) in [
        ("plain", "Bearer plain"),
        ("[x]", "Bearer [x]"),
        ("0123", "Bearer 0123"),
        ("{a=1}", "Bearer {a=1}"),
        ("{env=OTHER}", "Bearer another"),
    ] {
        let desk =
            Desk::new().variable("AUDIT_RELAY__DESTINATIONS__D__BEARER", text).variable("OTHER", "another");
        let plan = desk.load(&yaml).unwrap().plan;
        let plan::DestinationKind::Webhook(webhook) = plan.destinations["d"].kind.as_ref().unwrap() else {
            panic!()
        };
        assert_eq!(webhook.headers[0].1.expose(), expected);
    }
}

#[test]
fn what_kubernetes_makes_of_a_service_is_ignored() {
    // The variables of a Service called `audit-relay` with the ports 8787 and 9464.
    let desk = [
        ("AUDIT_RELAY_SERVICE_HOST", "10.96.7.7"),
        ("AUDIT_RELAY_SERVICE_PORT", "8787"),
        ("AUDIT_RELAY_SERVICE_PORT_PUSH", "8787"),
        ("AUDIT_RELAY_PORT", "tcp://10.96.7.7:8787"),
        ("AUDIT_RELAY_PORT_8787_TCP", "tcp://10.96.7.7:8787"),
        ("AUDIT_RELAY_PORT_8787_TCP_PROTO", "tcp"),
        ("AUDIT_RELAY_PORT_8787_TCP_ADDR", "10.96.7.7"),
        ("AUDIT_RELAY_CONFIG", "/somewhere/else.yaml"),
        ("AUDIT_RELAY_NAME", "not by one underscore"),
    ]
    .into_iter()
    .fold(Desk::new(), |desk, (name, value)| desk.variable(name, value));
    assert_eq!(desk.load(SOURCES).unwrap().plan.name, "audit-relay");
}

#[test]
fn problems_of_the_environment_name_the_variable() {
    let desk = Desk::new()
        .variable("AUDIT_RELAY__LOG__LEVLE", "debug")
        .variable("AUDIT_RELAY__JOURNAL__KEEP", "long")
        .variable("AUDIT_RELAY__SHUTDOWN_TIMEOUT", "5");
    assert_eq!(
        desk.problems(SOURCES),
        "\
environment variable AUDIT_RELAY__JOURNAL__KEEP: journal.keep: not a duration; expected a duration such as `250ms`, `5s`, `24h` or `7d`
environment variable AUDIT_RELAY__LOG__LEVLE: log.levle: unknown key; did you mean `level`?
environment variable AUDIT_RELAY__SHUTDOWN_TIMEOUT: shutdown_timeout: not a duration; expected a duration such as `250ms`, `5s`, `24h` or `7d`"
    );
}

#[test]
fn a_problem_is_one_line_whatever_a_name_holds() {
    let desk = Desk::new()
        .variable("AUDIT_RELAY__LOG__\u{1b}[2J\n", "debug")
        .variable("AUDIT_RELAY__SOURCES__A\r__\u{202e}X", "1");
    let problems = desk.problems(SOURCES);
    assert!(
        !problems.chars().any(|one| one != '\n' && one.is_control() || one == '\u{202e}'),
        "{problems:?}"
    );
    assert!(
        problems.contains("environment variable AUDIT_RELAY__LOG__\\u{1b}[2J\\n: log.[2j…: unknown key"),
        "{problems}"
    );
}

#[test]
fn where_the_file_is_looked_for() {
    let desk = Desk::new();
    let file = desk.write("elsewhere.yaml", &format!("{SOURCES}name: elsewhere\n"));
    let options = |config: Option<PathBuf>, variable: &str| LoadOptions {
        config,
        environment: vec![("AUDIT_RELAY_CONFIG".into(), variable.into())],
        references: References::Resolve,
        allow_inline_secrets: false,
    };
    let loaded = load(&options(None, file.to_str().unwrap())).unwrap();
    assert_eq!((loaded.plan.name.as_str(), loaded.files), ("elsewhere", vec![file.clone()]));
    assert_eq!(load(&options(Some(file), "/nowhere.yaml")).unwrap().plan.name, "elsewhere");
    let missing = load(&options(None, "/nowhere.yaml")).unwrap_err().to_string();
    assert_eq!(
        missing,
        "/nowhere.yaml: no such file; expected a configuration here, by `--config` or by `AUDIT_RELAY_CONFIG`"
    );
}

const ROUTED: &str = "\
include: routes.d/*.yaml
sources: {flipt: {type: file, path: /a}}
destinations: {screen: {type: console}, other: {type: console}}
routes:
  everything: {to: screen}
owners: [{flags: a, team: b}]
";

#[test]
fn included_files_add_routes_owners_and_tests() {
    let desk = Desk::new();
    desk.write("routes.d/a.yaml", "routes: {payments: {when: {types: flag}, to: other}}\n");
    desk.write("routes.d/b.yaml", "owners: [{flags: checkout, team: payments}]\n");
    desk.write(
        "routes.d/c.yaml",
        "owners: [{segments: beta, team: growth}]\ntests:\n- {event: {type: token, action: created}, to: screen}\n- {event: {type: flag, action: created}, to: screen}\n",
    );
    let loaded = desk.load(ROUTED).unwrap();
    let names: Vec<&str> = loaded.plan.routes.routes.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["everything", "payments"]);
    assert_eq!(loaded.files.len(), 4);
    let owners: Vec<&str> = loaded.plan.routes.owners.0.iter().map(|owner| &*owner.team).collect();
    assert_eq!(owners, ["b", "payments", "growth"]);
    assert_eq!((&loaded.notes, &loaded.warnings, loaded.tests), (&vec![], &vec![], 2));
    let failed: Vec<String> = loaded.failed_tests.iter().map(ToString::to_string).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(
        failed[0].ends_with("routes.d/c.yaml:4:42: tests[1].to: `other` gets it: route `payments` takes it"),
        "{failed:?}"
    );
}

#[test]
fn problems_of_included_files_name_the_right_file() {
    let desk = Desk::new();
    desk.write(
        "routes.d/a.yaml",
        "routes:\n  everything: {to: screen}\n  more: {to: scren}\nowners: [{team: payments}]\n",
    );
    desk.write("routes.d/b.yaml", "log: {level: debug}\nroute: {}\n");
    assert_eq!(
        desk.problems(ROUTED),
        "\
routes.d/a.yaml:2:3: routes.everything: already defined in audit-relay.yaml:5; expected each name once
routes.d/a.yaml:3:14: routes.more.to[0]: there is no such destination; expected `other` or `screen`; did you mean `screen`?
routes.d/a.yaml:4:10: owners[1]: this team owns nothing; expected `flags`, `segments` or `namespaces`
routes.d/b.yaml:1:1: log: not a key of an included file; expected `routes`, `owners` or `tests`
routes.d/b.yaml:2:1: route: not a key of an included file; expected `routes`, `owners` or `tests`; did you mean `routes`?"
    );
    let missing = ROUTED.replace("routes.d/*.yaml", "more.yaml");
    assert_eq!(
        desk.problems(&missing),
        "audit-relay.yaml:1:10: include: no such file; expected a file beside the configuration, or a glob"
    );
}

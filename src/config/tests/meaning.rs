//! What a right configuration means, and what is said about it.
use super::*;
use crate::config::plan::{DeliverSince, DestinationKind, ReadFrom, SourceKind, WatchMode, WebhookFormat};
use crate::event::{Framing, RecordKind, Timestamp};

fn said(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

#[test]
fn the_example_says_what_it_means() {
    let text = std::fs::read_to_string(repository("config/example.yaml")).unwrap();
    let mut desk = Desk::new();
    desk.references = References::Ignore;
    let loaded = desk.load(&text).unwrap();
    let names: Vec<_> =
        loaded.plan.routes.environments.rules.iter().map(|rule| rule.name.to_string()).collect();
    assert_eq!(names, ["production", "staging"]);
    let live = &loaded.plan.routes.routes[0];
    assert_eq!(live.name, "live_changes");
    assert!(live.when.live == Some(true) && live.when.unknown_matches);
    assert_eq!(said(&loaded.notes), [""; 0]);
    assert_eq!((loaded.tests, loaded.failed_tests), (3, vec![]));
    for name in ["slack", "datadog"] {
        assert_eq!(loaded.plan.destinations[name].deliver_since, DeliverSince::Now);
    }
}

#[test]
fn the_quickstart_has_nothing_to_remark() {
    let loaded = load(&LoadOptions {
        config: Some(repository("config/quickstart.yaml")),
        environment: Vec::new(),
        references: References::Resolve,
        allow_inline_secrets: false,
    })
    .unwrap();
    assert_eq!((loaded.warnings, loaded.notes), (vec![], vec![]));
}

#[test]
fn payloads_in_the_log_are_remarked_and_no_fault() {
    let load = |log: &str| {
        Desk::new().load(&format!("{SOURCES}destinations: {{screen: {{type: console}}}}\nroutes: {{all: {{to: screen}}}}\nlog: {log}\n")).unwrap()
    };
    let loaded = load("{level: 'info,audit_relay::payload=debug', payloads: true}");
    assert!(loaded.plan.log.payloads);
    let expected = "log.payloads: at `DEBUG` the log holds what events hold, the names and addresses of people among it: \
                    not for a log that everybody may read";
    assert_eq!((said(&loaded.notes), said(&loaded.warnings)), (vec![expected.to_owned()], vec![]));
    let loaded = load("{payloads: false}");
    assert_eq!((loaded.plan.log.payloads, said(&loaded.notes)), (false, vec![]));
}

#[test]
fn defaults() {
    let plan = Desk::new()
        .load(&format!("{SOURCES}destinations: {{d: {{type: webhook, url: https://a.example.com}}}}\nroutes: {{r: {{to: d}}}}"))
        .unwrap()
        .plan;
    assert_eq!((plan.name.as_str(), plan.data_dir), ("audit-relay", PathBuf::from("/var/lib/audit-relay")));
    assert_eq!((plan.journal.keep.as_secs(), plan.journal.max_size_bytes), (400 * 86_400, 1 << 30));
    assert_eq!(plan.health.listen.to_string(), "0.0.0.0:9464");
    assert_eq!(plan.admin.listen.to_string(), "127.0.0.1:9465");
    assert_eq!((plan.log.level.as_str(), plan.log.format), ("info", None));
    assert_eq!((plan.shutdown_timeout.as_secs(), plan.shutdown_keep_reading.as_secs()), (20, 0));
    let source = &plan.sources["flipt"];
    assert_eq!((source.instance.as_str(), source.environment.as_deref()), ("flipt", None));
    let SourceKind::File(file) = &source.kind else { panic!() };
    assert_eq!(file.paths, ["/var/log/flipt/audit.log"]);
    assert_eq!(
        (file.framing, file.read_from, file.watch),
        (Framing::Auto, ReadFrom::Beginning, WatchMode::Auto)
    );
    assert_eq!((file.max_event_bytes, file.include_rotated), (4 << 20, false));
    assert_eq!((file.rotated_idle.as_secs(), file.poll_interval.as_millis()), (86_400, 250));
    let destination = &plan.destinations["d"];
    let DestinationKind::Webhook(webhook) = destination.kind.as_ref().unwrap() else { panic!() };
    assert_eq!(webhook.format, WebhookFormat::Envelope);
    assert_eq!((destination.batch.max_events, destination.batch.max_bytes), (1, 1 << 20));
    assert!(destination.batch.timeout.is_zero());
    assert_eq!(
        (destination.retry.initial_backoff.as_secs(), destination.retry.max_backoff.as_secs()),
        (1, 300)
    );
    assert_eq!((destination.timeout.as_secs(), destination.deliver_since), (10, DeliverSince::Beginning));
    assert_eq!(plan.routes.routes[0].when, crate::routing::Conditions::default());
}

#[test]
fn one_or_many_everywhere() {
    let yaml = |when: &str, to: &str| {
        format!(
            "{SOURCES}destinations: {{d: {{type: console}}}}\nroutes: {{r: {{when: {{{when}}}, to: {to}}}}}\n"
        )
    };
    let single = "events: 'flag:*', types: flag, namespaces: a, sources: flipt, record: event";
    let list = "events: ['flag:*'], types: [flag], namespaces: [a], sources: [flipt], record: [event]";
    let one = Desk::new().load(&yaml(single, "d")).unwrap().plan.routes;
    assert_eq!(one, Desk::new().load(&yaml(list, "[d]")).unwrap().plan.routes);
    assert_eq!(one.routes[0].when.record, [RecordKind::Event]);
}

#[test]
fn the_order_of_environments_is_that_of_writing() {
    let yaml = format!(
        "{SOURCES}environments: {{zeta: 'prod-*', alpha: [staging, prod-eu], mid: '*'}}\nenvironment: rest\n"
    );
    let loaded = Desk::new().variable("AUDIT_RELAY__ENVIRONMENTS__BETA", "b").load(&yaml).unwrap();
    let environments = &loaded.plan.routes.environments;
    let names: Vec<_> = environments.rules.iter().map(|rule| rule.name.to_string()).collect();
    assert_eq!(names, ["zeta", "alpha", "mid", "beta"]);
    assert_eq!(environments.fallback.as_deref(), Some("rest"));
    let never = "environments.alpha[1]: never reached: `zeta` stands before it and takes the same";
    assert!(said(&loaded.warnings).iter().any(|warning| warning == never));
}

#[test]
fn a_webhook_with_everything() {
    let desk = Desk::new().variable("A", "one").variable("B", "two").variable("P", "open sesame");
    let yaml = format!(
        "{SOURCES}destinations:
  d:
    type: webhook
    url: https://a.example.com/x
    format: flipt
    headers: {{X-Team: payments}}
    signing: {{scheme: flipt, secrets: [{{env: A}}, {{env: B}}]}}
    basic: {{username: Aladdin, password: {{env: P}}}}
    retry: {{initial_backoff: 2s, max_backoff: 1m}}
    timeout: 3s
    deliver_since: 2026-11-22T08:00:00+01:00
routes: {{r: {{to: d}}}}
"
    );
    let loaded = desk.load(&yaml).unwrap();
    assert_eq!((&loaded.notes, &loaded.warnings), (&vec![], &vec![]));
    let destination = &loaded.plan.destinations["d"];
    let DestinationKind::Webhook(webhook) = destination.kind.as_ref().unwrap() else { panic!() };
    let secrets: Vec<&str> = webhook.signing[0].secrets.iter().map(|secret| secret.expose()).collect();
    assert_eq!(secrets, ["one", "two"]);
    let headers: Vec<_> =
        webhook.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("x-team", "payments"), ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")]);
    let time = Timestamp::parse_rfc3339("2026-11-22T07:00:00Z").unwrap();
    assert_eq!(destination.deliver_since, DeliverSince::Time(time));
}

#[test]
fn warnings() {
    let yaml = "\
sources:
  one: {type: file, path: [/a/audit.log, '/b/*.log*']}
  two: {type: file, path: '/a/*.log'}
  push: {type: http, bearer: {env: A}}
destinations: {unused: {type: console}, logs: {type: webhook, url: {env: URL}}}
routes: {r: {to: logs}}
";
    let loaded = Desk::new().variable("A", "a").load(yaml).unwrap();
    assert_eq!(
        said(&loaded.warnings),
        [
            "sources.one: the instance `flipt` has several sources: the state before a change is not told for it (write `single_writer: true` on those of its sources that see every change)",
            "sources.one.path[1]: this glob also matches rotated copies such as `audit.log.1`; those are skipped",
            "sources.two: it could read the same file as `one`: its events would come twice",
            "sources.two: it belongs to the same Flipt as `push` (instance `flipt`): with both of Flipt's sinks on, each event comes twice",
            "sources.push: it belongs to the same Flipt as `one` (instance `flipt`): with both of Flipt's sinks on, each event comes twice",
            "destinations.unused: no route names this destination: nothing goes to it",
            "destinations.logs.url: the environment variable `URL` is not set",
            "routes.r.to[0]: `logs` is not started: nothing goes to it by this route",
        ]
        .map(str::to_owned)
    );
}

#[test]
fn the_report_of_check() {
    let yaml = format!(
        "{SOURCES}destinations: {{d: {{type: webhook, url: https://a.example.com/path}}, e: {{type: otlp, endpoint: https://a.example.com, headers: {{x-token: {{env: NONE}}}}}}}}\nroutes: {{all: {{to: d}}}}\n"
    );
    let desk = Desk::new();
    let report = crate::cli::check::report(&desk.load(&yaml).unwrap());
    assert_eq!(
        report.replace(&format!("{}/", desk.directory.path().display()), ""),
        "\
source flipt: file /var/log/flipt/audit.log
destination d: webhook https://a.example.com
destination e: not started
route all: to d
warning: audit-relay.yaml:2:69: destinations.e: no route names this destination: nothing goes to it
warning: audit-relay.yaml:2:137: destinations.e.headers.x-token: the environment variable `NONE` is not set
ok: 1 source, 2 destinations, 1 route
"
    );
}

/// Every YAML block of the documentation is a configuration without mistakes.
#[test]
fn what_the_documentation_shows_is_right() {
    let mut shown = 0;
    for entry in std::fs::read_dir(repository("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let yaml = block.split("```").next().unwrap();
            let desk = Desk { references: References::Ignore, ..Desk::new() };
            let loaded = desk.load(yaml).unwrap_or_else(|problems| panic!("{}: {problems}", path.display()));
            assert_eq!((loaded.warnings, loaded.notes), (vec![], vec![]), "{}", path.display());
            assert_eq!(loaded.failed_tests, vec![], "{}", path.display());
            shown += 1;
        }
    }
    assert!(shown >= 2);
}

//! What can be used of a configuration that is not right.
use super::*;
use crate::config::plan::Plan;

fn salvaged(desk: &Desk, yaml: &str) -> Plan {
    assert!(load(&desk.options(yaml)).is_err(), "it is right");
    let plan = salvage(&desk.options(yaml), Watched::default()).plan;
    assert!(
        plan.is_salvaged && plan.routes.routes.is_empty() && plan.problems.is_none() && plan.flipt.is_none()
    );
    plan
}

#[test]
fn each_section_as_far_as_it_is_right() {
    let plan = salvaged(
        &Desk::new(),
        "
name: flipt-6d5c9b7f4-abcde
data_dir: /data
health: {listen: '127.0.0.1:9999'}
journal: {keep: 7d, max_size: much}
shutdown_keep_reading: 7s
shutdown_timeout: soon
log: {level: loud}
sources:
  flipt: {type: file, path: /var/log/flipt/audit.log}
  other: {type: file, path: /x, framing: unknown}
  pushed: {type: http, listen: '127.0.0.1:8787', bearer: {file: /nowhere}}
destinations:
  slack: {type: slack, webhook_url: 'https://hooks.slack.com/planted'}
  Not A Name: {type: file}
  new: {type: webhook, renamed_from: old}
  odd: 5
routes: 3
",
    );
    assert_eq!((plan.name.as_str(), plan.data_dir.to_str()), ("flipt-6d5c9b7f4-abcde", Some("/data")));
    assert_eq!(plan.health.listen.port(), 9999);
    assert_eq!(plan.journal.keep, Duration::from_secs(7 * 86_400));
    assert_eq!(plan.journal.max_size_bytes, 1 << 30, "as if nothing were written");
    assert_eq!(plan.shutdown_keep_reading, Duration::from_secs(7));
    assert_eq!(plan.shutdown_timeout, Duration::from_secs(20));
    assert_eq!(plan.log.level, "info");
    let sources: Vec<&String> = plan.sources.keys().collect();
    assert_eq!(sources, ["flipt", "pushed"]);
    let held = plan.destinations.iter();
    let held: Vec<_> =
        held.map(|(name, one)| (name.as_str(), one.type_word, one.renamed_from.as_deref())).collect();
    let expected = [("new", "webhook", None), ("odd", "unknown", None), ("slack", "slack", None)];
    assert_eq!(held, expected);
    assert!(!format!("{plan:?}").contains("planted"));
}

#[test]
fn a_section_that_is_no_yaml_takes_no_other_with_it() {
    let plan = salvaged(
        &Desk::new(),
        "routes:\n  all: {to: [out}\nsources:\n  # of Flipt\n  flipt:\n    type: file\n    path: /a\n\ndata_dir: /d\n\
         destinations:\n   out:\n  - x\n",
    );
    assert_eq!(plan.sources.len(), 1);
    assert_eq!(plan.data_dir.to_str(), Some("/d"));
    assert!(plan.destinations.is_empty());
}

#[test]
fn a_variable_that_is_not_right_is_as_good_as_none() {
    let desk = Desk::new()
        .variable("AUDIT_RELAY__DATA_DIR", "/data")
        .variable("AUDIT_RELAY__SHUTDOWN_TIMEOUT", "soon")
        .variable("AUDIT_RELAY__JOURNAL__MAX_SIZE", "512MiB")
        .variable("AUDIT_RELAY__NOTHING", "1");
    let plan = salvaged(&desk, &format!("{SOURCES}shutdown_timeout: 3s\n"));
    assert_eq!(plan.data_dir.to_str(), Some("/data"));
    assert_eq!(plan.shutdown_timeout, Duration::from_secs(3));
    assert_eq!(plan.journal.max_size_bytes, 512 << 20);
    let plan = salvaged(&desk, "");
    assert!(plan.sources.is_empty() && plan.data_dir.to_str() == Some("/data"));
}

#[test]
fn what_holds_only_together_is_no_reason_to_end() {
    let yaml = format!("{SOURCES}health: {{listen: '127.0.0.1:9465'}}\nrutes: {{}}\n");
    assert_eq!(salvaged(&Desk::new(), &yaml).health.listen.port(), 9465);
}

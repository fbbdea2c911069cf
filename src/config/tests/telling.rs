//! Who is told of problems, and which silence is one.
use super::*;
use crate::config::plan::ProblemsPlan;

const DESTINATIONS: &str = "
destinations:
  siem: {type: webhook, url: 'https://audit.example.com/', format: flipt}
  made: {type: webhook, url: 'https://audit.example.com/', format: template, template: '{}'}
  quiet: {type: console, observe: true}
  one: {type: console}
  two: {type: webhook, url: 'https://audit.example.com/'}
routes: {all: {to: [siem, made, quiet, one]}}
";

fn warned(problems: &str) -> Vec<String> {
    let loaded = Desk::new().load(&format!("{SOURCES}{DESTINATIONS}{problems}"));
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.notes, []);
    let told = loaded.warnings.into_iter().filter(|warning| warning.key.starts_with("problems"));
    told.map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
}

#[test]
fn problems_have_their_defaults_and_nobody_is_told_without_a_name() {
    let load = |yaml: &str| Desk::new().load(&format!("{SOURCES}{DESTINATIONS}{yaml}")).unwrap();
    let loaded = load("problems: {to: [one, two]}");
    // That it tells of problems is what a destination is for, too.
    assert!(loaded.warnings.iter().all(|warning| warning.key != "destinations.two"), "{:?}", loaded.warnings);
    let (after, repeat) = (Duration::from_secs(300), Duration::from_secs(4 * 3_600));
    let to = vec!["one".to_owned(), "two".to_owned()];
    assert_eq!(loaded.plan.problems, Some(ProblemsPlan { to, after, repeat }));
    assert_eq!(load("").plan.problems, None);
    assert_eq!(warned("problems: {after: 1m}"), ["problems.after: not used without `problems.to`"]);
}

#[test]
fn who_cannot_tell_is_warned_of() {
    assert_eq!(warned("problems: {to: [one, two]}"), Vec::<String>::new());
    assert_eq!(
        warned("problems: {to: one}"),
        ["problems.to: where `one` itself is in trouble nobody is told of it: name a second one"]
    );
    assert_eq!(
        warned("problems: {to: [siem, made, quiet, one]}"),
        [
            "problems.to[0]: `siem` cannot tell of problems: Flipt's own form has no room for them",
            "problems.to[1]: `made` cannot tell of problems: its template is for events",
            "problems.to[2]: `quiet` cannot tell of problems: it sends nothing",
        ]
    );
    let told =
        Desk::new().problems(&format!("{SOURCES}{DESTINATIONS}problems: {{to: [one, tow], repeat: 1s}}"));
    assert!(told.contains("problems.repeat: the same over and over"), "{told}");
    assert!(told.contains("there is no such destination") && told.contains("`two`"), "{told}");
}

#[test]
fn silence_is_no_problem_unless_it_is_said_to_be() {
    let silent_after = |more: &str| {
        let yaml = format!("sources: {{flipt: {{type: file, path: /a{more}}}}}\n{DESTINATIONS}");
        let loaded = Desk::new().load(&yaml).unwrap();
        assert_eq!(loaded.notes, []);
        loaded.plan.sources["flipt"].silent_after
    };
    assert_eq!(silent_after(""), None);
    assert_eq!(silent_after(", silent_after: never"), None);
    assert_eq!(silent_after(", silent_after: 3d"), Some(Duration::from_secs(3 * 86_400)));
}

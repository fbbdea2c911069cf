//! `links`: what a template may say, and what is told of one that cannot work.
use super::*;

fn yaml(links: &str) -> String {
    format!("{SOURCES}destinations: {{d: {{type: console}}}}\nroutes: {{r: {{to: d}}}}\nlinks: {links}\n")
}

fn loaded(links: &str) -> Loaded {
    Desk::new().load(&yaml(links)).unwrap_or_else(|problems| panic!("{links}: {problems}"))
}

#[test]
fn links_arrive_in_their_order() {
    let links = "[{title: Runbook, url: 'https://wiki.example.com/{{ key }}'}, {title: Logs, url: \"{% if kind == 'flag' %}https://logs.example.com/?q={{ name }}{% endif %}\"}]";
    let loaded = loaded(&links.replace('\n', ""));
    assert_eq!(loaded.warnings, []);
    let console = yaml(links).replace("{type: console}", "{type: slack, webhook_url: {env: HOOK}}");
    let desk = Desk::new().variable("HOOK", "https://hooks.slack.com/services/T0/B0/x");
    let plan = desk.load(&console).unwrap().plan;
    let Ok(crate::config::plan::DestinationKind::Slack(slack)) = &plan.destinations["d"].kind else {
        panic!()
    };
    let titles: Vec<_> = slack.around.links.templates.iter().map(|link| link.title.as_str()).collect();
    assert_eq!(titles, ["Runbook", "Logs"]);
}

#[test]
fn what_cannot_work_is_told_where_it_stands() {
    for (link, expected) in [
        ("{title: A}", "links[0]: `url` is missing"),
        ("{url: 'https://a.example.com'}", "links[0]: `title` is missing"),
        ("{title: '', url: 'https://a.example.com'}", "links[0].title: empty"),
        (
            "{title: A, url: 'https://a.example.com/{{ key }'}",
            "audit-relay.yaml:4:20: links[0].url: not a template: line 1: syntax error",
        ),
        (
            "{title: A, url: 'https://a.example.com/{{ kee }}'}",
            "links[0].url: no link knows `kee`; expected `change_set`, `environment`",
        ),
        ("{title: A, url: 'https://a.example.com/{{ kee }}'}", "did you mean `key`?"),
        ("{title: A, url: 'https://a.example.com/{{ key | urlencode }}'}", "unknown filter"),
        ("{title: A, url: '{{ key }}'}", "links[0].url: it makes no http or https address"),
        ("{title: A, url: 'javascript:alert(1)'}", "it makes no http or https address"),
        (
            "{title: A, url: 'https://user:hunter2@a.example.com/'}",
            "without user and password; expected such as",
        ),
        ("{title: A, url: 'https://a.example.com/%zz'}", "it makes no http or https address"),
        (
            "{title: A, url: 'https://a.example.com/{{ [key] }}'}",
            "it fails for every flag: line 1: invalid operation: sequence in an address",
        ),
        (
            "{title: A, url: \"https://a.example.com/{% for x in range(9999) %}{{ x }}{% endfor %}\"}",
            "it takes too long, or makes too much",
        ),
    ] {
        let told = Desk::new().problems(&yaml(&format!("[{link}]")));
        assert!(told.contains(expected), "{link}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let many = ["{title: A, url: 'https://a.example.com'}"; 11].join(", ");
    let told = Desk::new().problems(&yaml(&format!("[{many}]")));
    assert!(
        told.contains("links: 11 links: more than a message has room for; expected at most 10"),
        "{told}"
    );
    let never = "[{title: A, url: \"{% if kind == 'token' %}https://a.example.com{% endif %}\"}]";
    assert!(loaded(never).warnings[0].message.starts_with("it makes nothing for flags and segments"));
}

//! Templates that nest, or grow, beyond what anybody needs.

use super::*;
use crate::destination::links::LinkTemplate;

/// What a thread of the relay has, in bytes.
const STACK_BYTES: usize = 2 << 20;

/// As a thread of the relay would do it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.unwrap().join().unwrap()
    })
}

/// Each nests as deep as `count`, in a way that minijinja does not bound.
fn nested(count: usize) -> Vec<String> {
    let chain = |start: &str, part: &str, end: &str| format!("{start}{}{end}", part.repeat(count));
    let mut all = vec![chain("{\"a\":\"{% if 0 %}", "{% elif 0 %}", "{% endif %}\"}")];
    all.extend(
        [
            "+1",
            "+id",
            "|string",
            ".a",
            "[0]",
            "()",
            "**1",
            "~1",
            " if 1 else 1",
            " if 1",
            " and 1",
            " is none",
        ]
        .map(|part| chain("{{ id", part, " }}")),
    );
    all.extend(["not ", "-"].map(|part| chain("{{ ", part, "id }}")));
    all
}

#[test]
fn what_nests_too_deeply_is_no_template() {
    for template in nested(20_000).into_iter().chain(nested(3_000)) {
        let said = on_a_thread(|| Template::new(&plan(&template, "application/json")).unwrap_err());
        assert_eq!(said.key, "body");
        let is_long = template.len() > 64 << 10;
        let why = if is_long { "it has more than 64 KiB" } else { "line 1: more than 2,000 words and signs" };
        assert!(said.message.starts_with(why), "{}: {}", &template[..40], said.message);
        let link = on_a_thread(|| LinkTemplate::new(&template).unwrap_err()).to_string();
        assert!(link.starts_with(&format!("not a template: {why}")), "{link}");
        let header = TemplatePlan {
            headers: vec![("x-a".into(), Secret::new(template.as_str()))],
            ..plan("1", "application/json")
        };
        let said = on_a_thread(|| Template::new(&header).unwrap_err());
        assert!(said.message.starts_with(&format!("header x-a: {why}")), "{}", said.message);
    }
    let later = format!("\n\n{{{{ id }}}}\n{{{{ {}id }}}}", "-".repeat(2_000));
    let said = on_a_thread(|| Template::new(&plan(&later, "text/plain")).unwrap_err());
    assert!(said.message.starts_with("line 4: more than 2,000"), "{}", said.message);
}

/// The most that is taken needs no more than a thread has; this is a debug build, which needs the most.
#[test]
fn what_is_taken_can_be_read() {
    let delivery = flag();
    for count in [490, 660, 990, 1_990] {
        for template in nested(count) {
            on_a_thread(|| {
                let body = Template::new(&plan(&template, "application/json"));
                let _ = body.map(|body| body.render(&delivery));
                let _ = LinkTemplate::new(&template).map(|link| link.unknown_variables());
            });
        }
    }
    // Text outside of them does not count, nor what is not looked into.
    let signs = "-".repeat(5_000);
    let text =
        format!("{signs}{{% raw %}}{{{{ \"{signs}{{% endraw %}}{{# {signs} #}}{{{{ \"}}}}{signs}\" }}}}");
    assert!(Template::new(&plan(&text, "text/plain")).is_ok());
}

#[test]
fn values_that_nest_too_deeply_are_not_written() {
    let delivery = flag();
    let nests = |levels: usize| format!("{{% set x = 1 %}}{}", "{% set x=[x] %}".repeat(levels));
    let render = |body: String, content_type: &'static str| {
        on_a_thread(|| Template::new(&plan(&body, content_type))?.render(&delivery))
    };
    assert!(render(nests(100) + "{{ x }}", "application/json").is_ok());
    for tail in ["{{ x }}", "{{ x | tojson }}", "\"{{ [x] }}\""] {
        let said = render(nests(190) + tail, "application/json").unwrap_err().message;
        assert!(said.contains("it nests too deeply"), "{said}");
    }
    for tail in ["{{ x }}", "{{ x|string }}", "{{ x == [x] }}", "{{ [x,[x]]|sort|length }}", "{{ x|tojson }}"]
    {
        for kind in ["text/plain", "text/html"] {
            let _ = render(nests(190) + tail, kind);
        }
    }
    let deep = format!("{{% set x = {}1{} %}}", "[".repeat(140), "]".repeat(140));
    let deeper = format!("{{% set x = {}x{} %}}", "[".repeat(140), "]".repeat(140));
    for kind in ["text/plain", "text/html", "application/json"] {
        let _ = render(deep.clone() + &deeper.repeat(5) + "{{ x }}", kind);
    }
    let recursive = format!(
        "{{% for x in [[1]] recursive %}}{{{{ loop({}x{}) }}}}{{% endfor %}}",
        "[".repeat(100),
        "]".repeat(100)
    );
    let said = render(recursive, "application/json").unwrap_err().message;
    assert!(said.starts_with("line 1: a loop that calls itself"), "{said}");
    let grows = "{% set ns = namespace(x=1) %}{% for i in range(9000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}";
    assert!(render(grows.to_owned(), "application/json").is_err());
    assert!(
        on_a_thread(|| LinkTemplate::new(grows)
            .unwrap()
            .render(&crate::destination::links::Values::default()))
        .is_err()
    );
}

#[test]
fn values_that_double_are_not_written() {
    let doubling = format!("{{% set x = 1 %}}{}{{{{ x }}}}", "{% set x=[x,x] %}".repeat(60));
    let said = fails(&doubling, &flag());
    assert!(said.contains("more than 1 MiB"), "{said}");
}

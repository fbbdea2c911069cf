//! HTML from what is shown. Whatever is put in is escaped; templates are part of the program.

use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior, context};

use super::view::{ChangesView, StatusView};
use crate::admin::Refusal;

/// A template's name, which ends in `.html` so that values are escaped, and its text.
const TEMPLATES: [(&str, &str); 11] = [
    ("page.html", include_str!("page.html")),
    ("head.html", include_str!("head.html")),
    ("verdict.html", include_str!("verdict.html")),
    ("causes.html", include_str!("causes.html")),
    ("sources.html", include_str!("sources.html")),
    ("destinations.html", include_str!("destinations.html")),
    ("changes.html", include_str!("changes.html")),
    ("person.html", include_str!("person.html")),
    ("change.html", include_str!("change.html")),
    ("detail.html", include_str!("detail.html")),
    ("sorry.html", include_str!("sorry.html")),
];

/// The parts that tell how everything stands, by the names of their places in the page.
pub(super) const PARTS: [&str; 6] = ["head", "verdict", "causes", "sources", "destinations", "person"];

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("these are no delimiters"));
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_filter("code", code);
        for (name, text) in TEMPLATES {
            environment.add_template(name, text).expect("a test parses every template");
        }
        environment
    })
}

/// Escaped text, with what stands between backticks set as code.
fn code(text: &str) -> Value {
    let mut html = String::with_capacity(text.len() + 32);
    let pieces: Vec<&str> = text.split('`').collect();
    for (index, piece) in pieces.iter().enumerate() {
        // The last backtick of an odd number of them stands for itself.
        let is_code = index % 2 == 1 && index + 1 < pieces.len();
        let lone = if index % 2 == 1 && !is_code { "`" } else { "" };
        html.push_str(if is_code { "<code>" } else { lone });
        escape(piece, &mut html);
        html.push_str(if is_code { "</code>" } else { "" });
    }
    Value::from_safe_string(html)
}

fn escape(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
}

fn paint(name: &str, values: Value) -> Result<String, Refusal> {
    let painted = environment().get_template(name).and_then(|template| template.render(values));
    painted.map_err(|error| Refusal::failure(format!("the page could not be made: {error}")))
}

/// One of [`PARTS`].
pub(super) fn part(name: &str, status: &StatusView) -> Result<String, Refusal> {
    paint(&format!("{name}.html"), context! { s => Serde(status) })
}

/// The list of changes.
pub(super) fn changes(changes: &ChangesView) -> Result<String, Refusal> {
    paint("changes.html", context! { c => Serde(changes) })
}

/// The whole page.
pub(super) fn page(status: &StatusView, listed: &ChangesView, sees_names: bool) -> Result<String, Refusal> {
    let mut parts = std::collections::BTreeMap::new();
    for name in PARTS {
        parts.insert(name, part(name, status)?);
    }
    parts.insert("changes", changes(listed)?);
    paint("page.html", context! { s => Serde(status), c => Serde(listed), parts => parts, sees_names })
}

/// One change, as a list unfolds it.
pub(super) fn detail(detail: &super::detail::DetailView) -> Result<String, Refusal> {
    paint("detail.html", context! { d => Serde(detail) })
}

/// One change on a page of its own.
pub(super) fn change(title: &str, part: &str) -> Result<String, Refusal> {
    paint("change.html", context! { title, part })
}

/// Why there is nothing to show.
pub(super) fn sorry(message: &str) -> Result<String, Refusal> {
    paint("sorry.html", context! { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one() {
        for (name, _) in TEMPLATES {
            environment().get_template(name).unwrap();
        }
    }

    #[test]
    fn code_is_set_off_and_escaped() {
        let html = |text| code(text).to_string();
        assert_eq!(html("run `a<b` & `c`"), "run <code>a&lt;b</code> &amp; <code>c</code>");
        assert_eq!(html("one ` alone \"'"), "one ` alone &quot;&#39;");
        assert_eq!(html("`a` and `<"), "<code>a</code> and `&lt;");
    }
}

//! Links: where more can be seen of what changed.

use super::Judge;
use crate::config::plan::{LinkPlan, LinksPlan};
use crate::config::raw::Raw;
use crate::config::scalars::is_secret_address;
use crate::destination::links::{LinkError, LinkTemplate, MOST_LINKS, VARIABLES, Values};

pub(super) fn build(raw: &Raw, judge: &mut Judge<'_>) -> LinksPlan {
    if raw.links.len() > MOST_LINKS {
        let message = format!("{} links: more than a message has room for", raw.links.len());
        judge.problem("links", &message, Some(&format!("at most {MOST_LINKS}")));
    }
    let flipt = raw.flipt.external_url.as_ref();
    for (key, url) in [("flipt.external_url", flipt), ("admin.external_url", raw.admin.external_url.as_ref())]
    {
        if url.is_some_and(|url| is_secret_address(url.0.expose())) {
            let message = "everybody who gets a link sees this address";
            judge.problem(key, message, Some("one without user, password and query"));
        }
    }
    let mut templates = Vec::new();
    for (index, link) in raw.links.iter().enumerate() {
        let path = format!("links[{index}].url");
        // What is missing is told already, or stands behind a reference that was not to be looked up.
        if !link.url.is_empty() {
            try_out(&path, &link.url, judge);
            templates.push(LinkPlan { title: link.title.clone(), url: link.url.clone() });
        }
    }
    LinksPlan {
        flipt: flipt.map(|url| url.0.expose().trim_end_matches('/').to_owned()),
        instance: raw.flipt.instance.as_ref().map(|name| name.0.clone()),
        history: super::listeners::external_url(raw),
        templates,
    }
}

/// Compiles a template, and renders it for a flag and a segment of which everything is known.
fn try_out(path: &str, url: &str, judge: &mut Judge<'_>) {
    let template = match LinkTemplate::new(url) {
        Ok(template) => template,
        Err(error) => return judge.problem(path, &error.to_string(), None),
    };
    let unknown = template.unknown_variables();
    for name in &unknown {
        judge.unknown(path, &format!("no link knows `{name}`"), name, &VARIABLES);
    }
    if !unknown.is_empty() {
        return;
    }
    let mut makes_some = false;
    for kind in ["flag", "segment"] {
        match template.render(&Values::sample(kind)) {
            Ok(made) => makes_some |= made.is_some(),
            Err(error @ (LinkError::NoAddress | LinkError::Syntax(_))) => {
                let expected = Some("such as `https://wiki.example.com/{{ key }}`");
                return judge.problem(path, &error.to_string(), expected);
            }
            Err(LinkError::Fails(why)) => {
                return judge.problem(path, &format!("it fails for every {kind}: {why}"), None);
            }
        }
    }
    if !makes_some {
        judge.warn(path, "it makes nothing for flags and segments: messages leave it out");
    }
}

//! An explanation, as it is told to people.

use std::fmt::Write as _;

use super::report::{
    ExplainedBody, ExplainedDestination, ExplainedFacts, ExplainedRequest, ExplainedRoute, Explanation,
};
use crate::admin::words::{escaped, number, table};
use crate::event::{Origin, Timestamp};

/// What is not known.
const UNKNOWN: &str = "unknown";

/// The whole of it, on some lines.
#[must_use]
pub fn text(explanation: &Explanation) -> String {
    let Explanation { id, sequence, origin, time, sentence, facts, notes, routes, destinations } =
        explanation;
    let place = sequence.map(|sequence| format!("  sequence {sequence}")).unwrap_or_default();
    let time = Timestamp::from_unix_micros(time.unix_seconds() * 1_000_000);
    let mut text = format!("{sentence}\n  {id}  {time}{place}\n");
    if let Some(Origin { relay, sequence, accepted_at, .. }) = origin {
        let relay = escaped(relay);
        let _ = writeln!(text, "  first taken in by relay {relay} as sequence {sequence}, {accepted_at}");
    }
    text.push_str("\nfacts\n");
    indent(&mut text, &table(&facts_rows(facts), &[]));
    for note in notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text.push_str("\nroutes\n");
    indent(&mut text, &table(&routes.iter().map(route_row).collect::<Vec<_>>(), &[]));
    text.push_str("\ndestinations\n");
    let (reached, others): (Vec<_>, Vec<_>) =
        destinations.iter().partition(|destination| !destination.by.is_empty());
    for destination in reached {
        tell_destination(&mut text, destination);
    }
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|destination| destination.name.as_str()).collect();
        let _ = writeln!(text, "  no route leads to {}", names.join(", "));
    }
    text
}

fn indent(text: &mut String, lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(text, "  {line}");
    }
}

fn facts_rows(facts: &ExplainedFacts) -> Vec<Vec<String>> {
    let unknown = || UNKNOWN.to_owned();
    let said = |value: &Option<String>| value.clone().unwrap_or_else(unknown);
    let list = |values: &Option<Vec<String>>| match values {
        Some(values) if values.is_empty() => "none".to_owned(),
        Some(values) => values.join(", "),
        None => unknown(),
    };
    let namespace = if facts.has_namespace { said(&facts.namespace) } else { "none".to_owned() };
    let key = match (&facts.key, &facts.key_of) {
        (Some(key), Some(kind)) => format!("{key} ({kind})"),
        _ => unknown(),
    };
    let mut rows = vec![("record", facts.record.clone()), ("source", facts.source.clone())];
    if facts.record == "event" {
        rows.extend([
            ("type", said(&facts.noun)),
            ("action", said(&facts.action)),
            ("status", said(&facts.status)),
        ]);
    }
    rows.extend([("environment", said(&facts.environment)), ("namespace", namespace)]);
    if facts.record == "event" {
        rows.extend([
            ("key", key),
            ("teams", list(&facts.teams)),
            ("live", facts.live.map_or_else(unknown, |live| live.to_string())),
            ("kind", said(&facts.kind)),
            ("changed", list(&facts.changed)),
            ("actor_kind", said(&facts.actor_kind)),
        ]);
    }
    rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

fn route_row(route: &ExplainedRoute) -> Vec<String> {
    vec![route.name.clone(), route_words(route)]
}

/// What a route makes of it, in words.
pub(in crate::admin) fn route_words(route: &ExplainedRoute) -> String {
    match (&route.because, route.takes) {
        (_, true) => format!("takes it, to {}", route.to.join(", ")),
        (Some(because), false) => format!(
            "leaves it: `{}` asks for {}, and {}",
            because.condition,
            because.wants,
            because.saw.as_ref().map_or("that is not known".to_owned(), |saw| format!("this is {saw}"))
        ),
        (None, false) => "leaves it: all of `unless` holds".to_owned(),
    }
}

fn tell_destination(text: &mut String, destination: &ExplainedDestination) {
    let ExplainedDestination { name, kind, by, cannot_work, notes, left_out, unrenderable, requests, .. } =
        destination;
    let _ = writeln!(text, "  {name} ({kind}): by {}", by.join(", "));
    if let Some(why) = cannot_work {
        let _ = writeln!(text, "    cannot work now: {why}");
    }
    for note in notes {
        let _ = writeln!(text, "    {note}");
    }
    if *left_out {
        text.push_str("    left out by the rules of this destination\n");
    }
    if let Some(why) = unrenderable {
        let _ = writeln!(text, "    a dead letter at once: {why}");
    }
    for request in requests {
        tell_request(text, request);
    }
}

fn tell_request(text: &mut String, request: &ExplainedRequest) {
    let _ = writeln!(text, "    {}", escaped(&request.to));
    for (name, value) in &request.headers {
        let _ = writeln!(text, "    {name}: {}", escaped(value));
    }
    let (body, encoding) = match &request.body {
        ExplainedBody::Text(body) => (body, ""),
        ExplainedBody::Base64(body) => (body, ", shown in base64"),
    };
    text.push('\n');
    for line in body.lines() {
        let _ = writeln!(text, "    {}", escaped(line));
    }
    let size = &request.size;
    let alone = if size.event_bytes > size.max_bytes { ": it goes alone" } else { "" };
    let _ = writeln!(
        text,
        "\n    {} bytes{encoding}; the event as it came has {}, of at most {} to a request{alone}",
        number(size.body_bytes as u64),
        number(size.event_bytes as u64),
        number(size.max_bytes as u64),
    );
}

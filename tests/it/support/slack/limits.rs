//! What Slack refuses of a message (the Block Kit reference on docs.slack.dev), and what it would take although
//! it can ping or spoof.

use serde_json::{Map, Value};

/// More is cut by Slack; here it is refused, so that nobody relies on the cut.
const MAX_TEXT: usize = 40_000;
/// Undocumented: bolt-js issue 2509 saw `msg_blocks_too_long` from 13,172 characters on.
const MAX_ALL_BLOCKS: usize = 13_171;

type Fields = Map<String, Value>;

/// Slack's word for what is wrong with a message, if anything is.
pub fn malformed(body: &Value) -> Option<&'static str> {
    let Some(message) = body.as_object() else { return Some("invalid_payload") };
    let text = match message.get("text") {
        None | Some(Value::Null) => "",
        Some(Value::String(text)) => text,
        Some(_) => return Some("invalid_payload"),
    };
    if text.chars().count() > MAX_TEXT {
        return Some("msg_too_long");
    }
    match message.get("blocks") {
        None | Some(Value::Null) if text.is_empty() => Some("no_text"),
        None | Some(Value::Null) => None,
        Some(Value::Array(blocks)) if blocks.is_empty() && text.is_empty() => Some("no_text"),
        Some(Value::Array(blocks)) => {
            if blocks.len() > 50 || !blocks.iter().all(is_block) {
                return Some("invalid_blocks");
            }
            let mut all = Vec::new();
            blocks.iter().for_each(|block| texts(block, &mut all));
            let length: usize = all.iter().map(|text| text.chars().count()).sum();
            (length > MAX_ALL_BLOCKS).then_some("msg_blocks_too_long")
        }
        Some(_) => Some("invalid_blocks_format"),
    }
}

/// Whether an object has no other fields than these, and all that end in `!`.
fn has_only(fields: &Fields, names: &[&str]) -> bool {
    fields.keys().all(|field| names.iter().any(|name| name.trim_end_matches('!') == field))
        && names
            .iter()
            .filter_map(|name| name.strip_suffix('!'))
            .all(|needed| fields.get(needed).is_some_and(|value| !value.is_null()))
}

fn is_block(block: &Value) -> bool {
    let Some(fields) = block.as_object() else { return false };
    let list = |name: &str| fields.get(name).and_then(Value::as_array);
    let fits = |items: Option<&Vec<Value>>, most: usize, is_item: &dyn Fn(&Value) -> bool| {
        items.is_some_and(|items| (1..=most).contains(&items.len()) && items.iter().all(is_item))
    };
    if fields.get("block_id").is_some_and(|id| !is_string(id, 1, 255)) {
        return false;
    }
    match fields.get("type").and_then(Value::as_str) {
        Some("header") => {
            has_only(fields, &["type!", "block_id", "text!"])
                && is_text(&fields["text"], 150)
                && fields["text"]["type"] == "plain_text"
        }
        Some("section") => {
            has_only(fields, &["type!", "block_id", "text", "fields", "accessory", "expand"])
                && (fields.contains_key("text") || fields.contains_key("fields"))
                && fields.get("text").is_none_or(|text| is_text(text, 3_000))
                && (!fields.contains_key("fields")
                    || fits(list("fields"), 10, &|field| is_text(field, 2_000)))
                && fields.get("accessory").is_none_or(is_button)
        }
        Some("context") => {
            has_only(fields, &["type!", "block_id", "elements!"])
                && fits(list("elements"), 10, &|element| is_text(element, 3_000))
        }
        Some("actions") => {
            has_only(fields, &["type!", "block_id", "elements!"]) && fits(list("elements"), 25, &is_button)
        }
        Some("divider") => has_only(fields, &["type!", "block_id"]),
        _ => false,
    }
}

fn is_text(text: &Value, most: usize) -> bool {
    let Some(fields) = text.as_object() else { return false };
    let names: &[&str] = match fields.get("type").and_then(Value::as_str) {
        Some("plain_text") => &["type!", "text!", "emoji"],
        Some("mrkdwn") => &["type!", "text!", "verbatim"],
        _ => return false,
    };
    let flags = ["emoji", "verbatim"];
    has_only(fields, names)
        && is_string(&fields["text"], 1, most)
        && flags.iter().all(|flag| fields.get(*flag).is_none_or(Value::is_boolean))
}

fn is_button(button: &Value) -> bool {
    let Some(fields) = button.as_object() else { return false };
    has_only(fields, &["type!", "text!", "action_id", "url", "value", "style"])
        && fields["type"] == "button"
        && is_text(&fields["text"], 75)
        && fields["text"]["type"] == "plain_text"
        && fields.get("url").is_none_or(|url| is_string(url, 1, 3_000))
        && fields.get("value").is_none_or(|value| is_string(value, 1, 2_000))
        && fields.get("action_id").is_none_or(|id| is_string(id, 1, 255))
}

fn is_string(value: &Value, least: usize, most: usize) -> bool {
    value.as_str().is_some_and(|text| (least..=most).contains(&text.chars().count()))
}

/// Every text that people read, wherever it stands.
pub(super) fn texts(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "text" => all.push(text.clone()),
                    _ => texts(value, all),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, all)),
        _ => {}
    }
}

/// What of a message that Slack takes could ping, or pass for something else.
pub fn harm(body: &Value) -> Option<String> {
    for name in ["link_names", "parse", "username", "icon_emoji", "icon_url", "as_user"] {
        if body.get(name).is_some() {
            return Some(format!("it has {name}"));
        }
    }
    not_verbatim(body).or_else(|| {
        let mut all = Vec::new();
        texts(body, &mut all);
        all.iter().find_map(|text| Some(format!("{} in {text:?}", harm_of(text)?)))
    })
}

/// Without `verbatim`, Slack makes mentions and links of bare words.
fn not_verbatim(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => {
            if value["type"] == "mrkdwn" && value["verbatim"] != true {
                return Some(format!("not verbatim: {value}"));
            }
            fields.values().find_map(not_verbatim)
        }
        Value::Array(items) => items.iter().find_map(not_verbatim),
        _ => None,
    }
}

fn harm_of(text: &str) -> Option<&'static str> {
    let is_override = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.chars().any(is_override) {
        return Some("a bidirectional override");
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Some("a control character");
    }
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>', '&']) {
        let (mark, tail) = rest[at..].split_at(1);
        rest = match mark {
            "&" => match ["amp;", "lt;", "gt;"].iter().find_map(|entity| tail.strip_prefix(entity)) {
                Some(after) => after,
                None => return Some("a bare &"),
            },
            "<" => {
                let Some((inside, after)) = tail.split_once('>') else { return Some("a bare <") };
                if !is_own_sequence(inside) {
                    return Some("a mention, or another sequence of Slack's");
                }
                after
            }
            _ => return Some("a bare >"),
        };
    }
    None
}

/// A link with a label, or a date: all that a relay has to say in Slack's own sequences.
fn is_own_sequence(inside: &str) -> bool {
    let has_label =
        inside.split_once('|').is_some_and(|(_, label)| !label.is_empty() && !label.contains('<'));
    let starts = ["https://", "http://", "!date^"];
    has_label && !inside.contains('\n') && starts.iter().any(|start| inside.starts_with(start))
}

//! The read-only part of Flipt's REST API, as far as the relay asks it.

use serde_json::{Value, json};

use super::{Received, Receiver, Reply};

/// What a request must carry.
pub const TOKEN: &str = "PLANTED-token";
/// It gives fewer things on a page than it is asked for, as it may.
const PAGE: usize = 2;

/// Answers from a truth: `{"namespaces": [{…, "segments": […], "flags": [{…, "rules": […], "rollouts": […]}]}]}`,
/// each thing as Flipt's API writes it. Ends with the test.
pub struct FakeFlipt(Receiver);

impl std::ops::Deref for FakeFlipt {
    type Target = Receiver;

    fn deref(&self) -> &Receiver {
        &self.0
    }
}

impl FakeFlipt {
    pub fn start(truth: Value) -> Self {
        Self::with(truth, |_, _| None)
    }

    /// What `interfere` gives is answered instead; it sees the number of the request (from 0) and the request.
    pub fn with(
        truth: Value,
        interfere: impl Fn(usize, &Received) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self(Receiver::scripted(move |number, request| {
            interfere(number, request).unwrap_or_else(|| answer(&truth, request))
        }))
    }

    /// The configuration of it.
    pub fn config(&self) -> String {
        let url = self.url("/").replace("http://", "http://user:PLANTED-password@");
        format!("flipt: {{url: '{url}', token: {TOKEN}}}")
    }

    /// What it was asked, as `path?query`.
    pub fn asked(&self) -> Vec<String> {
        self.received().iter().map(|request| format!("{}?{}", request.path, request.query)).collect()
    }
}

fn answer(truth: &Value, request: &Received) -> Reply {
    let refused =
        |status, message: &str| Reply::Answer(status, json_type(), json!({ "message": message }).to_string());
    if request.method != "GET" {
        return refused(501, "Method Not Allowed");
    }
    if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return refused(401, "request was not authenticated");
    }
    let parts: Vec<&str> = request.path.split('/').skip(1).collect();
    let Some(found) = parts.strip_prefix(&["api", "v1"]).and_then(|parts| find(truth, parts)) else {
        return refused(404, "not found");
    };
    let body = match found {
        Found::One(one) => without(one, &["segments", "flags"]),
        Found::List(name, all) => page(name, all, &request.query),
    };
    Reply::Answer(200, json_type(), body.to_string())
}

enum Found<'a> {
    One(&'a Value),
    List(&'static str, &'a [Value]),
}

fn find<'a>(truth: &'a Value, parts: &[&str]) -> Option<Found<'a>> {
    let list = |of: &'a Value, name: &str| of[name].as_array().map_or(&[][..], Vec::as_slice);
    let by_key =
        |of: &'a Value, name: &str, key: &str| list(of, name).iter().find(move |one| one["key"] == key);
    let namespace = |key| by_key(truth, "namespaces", key);
    Some(match parts {
        ["namespaces"] => Found::List("namespaces", list(truth, "namespaces")),
        ["namespaces", key] => Found::One(namespace(key)?),
        ["namespaces", key, "segments"] => Found::List("segments", list(namespace(key)?, "segments")),
        ["namespaces", key, "flags"] => Found::List("flags", list(namespace(key)?, "flags")),
        // Flipt calls both of them rules.
        ["namespaces", key, "flags", flag, what @ ("rules" | "rollouts")] => {
            Found::List("rules", list(by_key(namespace(key)?, "flags", flag)?, what))
        }
        _ => return None,
    })
}

fn page(name: &str, all: &[Value], query: &str) -> Value {
    let parameter =
        |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    let limit = parameter("limit").and_then(|(_, limit)| limit.parse::<usize>().ok());
    assert!(limit.is_some_and(|limit| limit <= 100), "Flipt gives no more than 100: {query}");
    // A token is opaque, and needs to be encoded in a query.
    let token = |offset: usize| format!("+{offset}==");
    let offset = parameter("pageToken")
        .map_or(0, |(_, token)| token.trim_start_matches("%2B").trim_end_matches("%3D").parse().unwrap());
    let items: Vec<Value> = all
        .iter()
        .skip(offset)
        .take(PAGE)
        .map(|one| without(one, &["segments", "flags", "rules", "rollouts"]))
        .collect();
    let end = offset + items.len();
    let next = if end < all.len() { token(end) } else { String::new() };
    json!({ name: items, "nextPageToken": next, "totalCount": all.len() })
}

fn without(one: &Value, names: &[&str]) -> Value {
    let mut one = one.clone();
    if let Some(fields) = one.as_object_mut() {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    one
}

fn json_type() -> Vec<(&'static str, String)> {
    vec![("content-type", "application/json".to_owned())]
}

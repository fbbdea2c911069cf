//! The samples of a configuration: each is an event that goes through the routes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Context;
use crate::config::plan::Plan;
use crate::config::problem::{Problem, nearest};
use crate::config::raw::Raw;
use crate::config::raw::route::Test;
use crate::config::walk::words;
use crate::config::yaml::shown;
use crate::delivery::decisions;
use crate::event::{
    EntityKind, EventId, Framing, Incarnation, Keys, Known, Namespace, OrderKey, OrderRef, RecordKind, Seen,
    SeenBy, StoredRecord, Timestamp, Without,
};
use crate::flipt::{self, AuditEvent};
use crate::routing::{Route, RouteDecision};

/// What the samples show to be wrong, with the routes that decided.
pub(super) fn failed(raw: &Raw, plan: &Plan, context: &Context<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, test) in raw.tests.iter().enumerate() {
        let path = format!("tests[{index}]");
        let name = test.name.as_deref().map(|name| format!("`{}`: ", shown(name))).unwrap_or_default();
        match Sample::new(test, plan) {
            Ok(sample) => sample.judge(plan, |key, message| {
                let path = if key.is_empty() { path.clone() } else { format!("{path}.{key}") };
                problems.push(context.origins.problem(&path, &format!("{name}{message}"), None));
            }),
            Err(wrong) => {
                let path = format!("{path}.{}", wrong.key);
                let message = format!("{name}{}", wrong.message);
                let mut problem = context.origins.problem(&path, &message, wrong.expected.as_deref());
                problem.nearest = wrong.nearest.map(|near| format!("`{near}`"));
                problems.push(problem);
            }
        }
    }
    problems
}

/// What is wrong with a sample itself.
#[derive(Default)]
struct Wrong {
    key: &'static str,
    message: String,
    expected: Option<String>,
    nearest: Option<String>,
}

impl Wrong {
    fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into(), ..Self::default() }
    }

    fn word(key: &'static str, message: &str, written: &str, known: &[&str]) -> Self {
        let near = nearest(written, known.iter().copied()).map(str::to_owned);
        Self { expected: Some(words(known)), nearest: near, ..Self::new(key, message) }
    }
}

struct Sample<'a> {
    test: &'a Test,
    record: StoredRecord,
}

impl<'a> Sample<'a> {
    fn new(test: &'a Test, plan: &Plan) -> Result<Self, Wrong> {
        let source = source(test, plan)?;
        let instance = plan.sources.get(source).map_or("flipt", |source| source.instance.as_str());
        let event = event(test)?;
        let json = Value::Object(event.clone()).to_string();
        let parsed = AuditEvent::parse(&json).map_err(|error| Wrong::new("event", error.to_string()))?;
        let keys = flipt::keys(&parsed, instance);
        let known = if parsed.is_denied() { None } else { Some(known(test, &event, &parsed)?) };
        let (namespace, order_key) = belonging(test, keys, instance);
        let original = json.as_bytes().to_vec();
        let incarnation = Incarnation::name(&plan.name, source, b"sample", 0);
        let record = StoredRecord {
            sequence: 1,
            id: EventId::of_line(incarnation, 0, &original),
            kind: RecordKind::Event,
            source: source.into(),
            instance: instance.into(),
            epoch: "sample".into(),
            accepted_at: TIME,
            event_time: parsed.time,
            namespace,
            entity: None,
            order_key,
            framing: Framing::Auto,
            original,
            detail: None,
            trace: None,
            origin: None,
            known: known.and_then(|known| serde_json::to_string(&known).ok()).map(Into::into),
            change_set: None,
            running: Duration::ZERO,
        };
        Ok(Self { test, record })
    }

    /// Tells what goes where it must not, and what does not go where it must.
    fn judge(&self, plan: &Plan, mut tell: impl FnMut(&str, String)) {
        let environment = plan.environment_of(&self.record.source, &self.record.namespace);
        let decisions = decisions(&plan.routes, &self.record, environment.as_deref());
        let taker = |name: &str| {
            let mut takers = decisions.iter().filter(|(_, decision)| *decision == RouteDecision::Takes);
            takers.find(|(route, _)| goes(route, name)).map(|(route, _)| route)
        };
        for (index, name) in self.test.to.0.iter().enumerate() {
            if taker(&name.0).is_none() {
                tell(
                    &format!("to[{index}]"),
                    format!("`{}` does not get it: {}", name.0, why(&decisions, &name.0)),
                );
            }
        }
        let told = |name: &str, route: &Route| format!("`{name}` gets it: route `{}` takes it", route.name);
        for (index, name) in self.test.not_to.0.iter().enumerate() {
            if let Some(route) = taker(&name.0) {
                tell(&format!("not_to[{index}]"), told(&name.0, route));
            }
        }
        if !self.test.not_to.0.is_empty() {
            return;
        }
        for name in plan.destinations.keys().filter(|name| !self.test.to.0.iter().any(|to| to.0 == **name)) {
            if let Some(route) = taker(name) {
                tell(if self.test.to.0.is_empty() { "" } else { "to" }, told(name, route));
            }
        }
    }
}

/// The time of samples that tell none.
const TIME: Timestamp = Timestamp::from_unix_micros(1_795_332_443_000_000);

fn goes(route: &Route, name: &str) -> bool {
    route.to.iter().any(|to| to == name)
}

/// Why no route takes it to this destination.
fn why(decisions: &[(&Route, RouteDecision)], name: &str) -> String {
    let mut said = Vec::new();
    for (route, decision) in decisions.iter().filter(|(route, _)| goes(route, name)) {
        said.push(match decision {
            RouteDecision::When(failed) => format!("route `{}`: {failed}", route.name),
            RouteDecision::Unless => format!("route `{}`: its `unless` holds", route.name),
            RouteDecision::Takes => continue,
        });
    }
    if said.is_empty() { "no route names it".into() } else { said.join("; ") }
}

fn source<'a>(test: &'a Test, plan: &'a Plan) -> Result<&'a str, Wrong> {
    let names: Vec<&str> = plan.sources.keys().map(String::as_str).collect();
    match (&test.source, names.as_slice()) {
        (Some(written), _) if names.contains(&written.0.as_str()) => Ok(&written.0),
        (Some(written), _) => Err(Wrong::word("source", "there is no such source", &written.0, &names)),
        (None, [only]) => Ok(only),
        (None, _) => Err(Wrong {
            expected: Some(words(&names)),
            ..Wrong::new("source", "there are several sources, and this says not which")
        }),
    }
}

/// The event with what its author left out.
fn event(test: &Test) -> Result<Map<String, Value>, Wrong> {
    let text = |key: &str| test.event.get(key).and_then(Value::as_str);
    let mut event = Map::from_iter([
        ("version".to_owned(), json!("0.2")),
        ("status".to_owned(), json!("success")),
        ("metadata".to_owned(), json!({"actor": {"authentication": "none"}})),
        ("payload".to_owned(), Value::Null),
        ("timestamp".to_owned(), json!(TIME.to_string())),
    ]);
    for (key, value) in &test.event {
        if !KEYS.contains(&key.as_str()) {
            let message = format!("`{}` is no key of an event", shown(key));
            return Err(Wrong::word("event", &message, key, &KEYS));
        }
        event.insert(key.clone(), value.clone());
    }
    let nouns = EntityKind::ALL.map(EntityKind::as_str);
    let of_flipt: [(&str, &[&str]); 3] =
        [("type", &nouns), ("action", &super::routes::VERBS), ("status", &super::routes::STATUSES)];
    for (key, known) in of_flipt {
        if let Some(written) = text(key).filter(|written| !known.contains(written)) {
            let message = format!("Flipt has no such {key}");
            return Err(Wrong::word("event", &message, written, known));
        }
    }
    if event.get("status") == Some(&json!("denied")) && !test.event.get("payload").is_none_or(Value::is_null)
    {
        return Err(Wrong::new("event", "a denied event has no payload"));
    }
    Ok(event)
}

/// The keys of an event.
const KEYS: [&str; 7] = ["version", "type", "action", "status", "metadata", "payload", "timestamp"];

/// What the relay would know of it.
fn known(test: &Test, event: &Map<String, Value>, parsed: &AuditEvent<'_>) -> Result<Known, Wrong> {
    let is_created = parsed.action == "created";
    let Some(before) = &test.before else {
        let without = if is_created { Without::Created } else { Without::FirstSeen };
        return Ok(Known { live: test.live, ..Known::nothing(without) });
    };
    if is_created {
        return Err(Wrong::new("before", "what is created was not there before"));
    }
    let payload = event.get("payload").and_then(Value::as_object);
    let mut state: BTreeMap<&str, &Value> =
        payload.into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect();
    state.extend(before.iter().map(|(key, value)| (key.as_str(), value)));
    Ok(Known {
        before: serde_json::value::to_raw_value(&state).ok(),
        seen: Some(Seen { at: TIME, sequence: None, by: SeenBy::Event }),
        live: test.live,
        ..Known::default()
    })
}

/// Where it belongs; of a distribution only its author can say it.
fn belonging(test: &Test, keys: Keys, instance: &str) -> (Namespace, Option<OrderKey>) {
    match (keys.order, &test.flag) {
        (OrderRef::Known(order_key), _) => (keys.namespace, Some(order_key)),
        (OrderRef::Through(_), Some(flag)) => {
            let namespace = test.namespace.clone().unwrap_or_else(|| "default".to_owned());
            let order_key = OrderKey::new(instance, &namespace, EntityKind::Flag, flag);
            (Namespace::Known(namespace), Some(order_key))
        }
        (OrderRef::Through(_) | OrderRef::Barrier, _) => (keys.namespace, None),
    }
}

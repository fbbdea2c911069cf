//! A small Flipt for tests: keeps flags and segments as Flipt's storage does (`internal/storage/sql/common`),
//! and tells of each edit what its audit events tell (`internal/server/audit/types.go`).

use serde_json::{Map, Value, json};

use crate::event::{EntityKind, Imported};

/// What was edited, and what that was before.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) noun: &'static str,
    pub(crate) verb: &'static str,
    pub(crate) payload: Value,
    /// The entity before, as an event would have told it; null where there was none.
    pub(crate) before: Value,
    /// The entity after; null where it is deleted.
    pub(crate) after: Value,
}

#[derive(Debug, Clone, Default)]
struct Flag {
    key: String,
    name: String,
    description: String,
    enabled: bool,
    default: Option<String>,
    variants: Vec<Value>,
    rules: Vec<Value>,
    distributions: Vec<Value>,
    rollouts: Vec<Value>,
}

/// Its contents, of one namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct MiniFlipt {
    pub(crate) namespace: String,
    /// Whether deletions of rules and rollouts tell what was deleted (1.59 and later).
    pub(crate) tells_deleted: bool,
    flags: Vec<Flag>,
    segments: Vec<Value>,
    ids: u32,
}

fn set(value: &mut Value, name: &str, to: Value) {
    value[name] = to;
}

fn without(value: &Value, names: &[&str]) -> Value {
    let mut object: Map<String, Value> = value.as_object().cloned().unwrap_or_default();
    object.retain(|key, _| !names.contains(&key.as_str()));
    object.into()
}

impl MiniFlipt {
    pub(crate) fn new(namespace: &str, tells_deleted: bool) -> Self {
        Self { namespace: namespace.to_owned(), tells_deleted, ..Self::default() }
    }

    fn id(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}-{:04}-{}", self.ids, self.namespace)
    }

    fn flag_json(&self, flag: &Flag) -> Value {
        let mut value = json!({"description": flag.description, "enabled": flag.enabled, "key": flag.key,
            "name": flag.name, "namespace_key": self.namespace});
        if let Some(id) = &flag.default {
            let key = flag.variants.iter().find(|variant| variant["id"] == **id);
            set(&mut value, "default_variant", key.map(|variant| variant["key"].clone()).unwrap_or_default());
        }
        value
    }

    fn rule_json(flag: &Flag, rule: &Value) -> Value {
        let of_rule = flag.distributions.iter().filter(|one| one["rule_id"] == rule["id"]);
        let mut value = rule.clone();
        set(&mut value, "distributions", of_rule.cloned().collect());
        value
    }

    /// One edit, chosen by three numbers; `None` where there is nothing to do it to.
    #[allow(clippy::too_many_lines)]
    pub(crate) fn edit(&mut self, what: u32, which: usize, how: u32) -> Option<Edit> {
        let namespace = self.namespace.clone();
        let done = |noun, verb, payload: Value, before: Value, after: Value| {
            Some(Edit { noun, verb, payload, before, after })
        };
        match what % 22 {
            0 => {
                let key = format!("flag-{}", how % 3);
                if self.flags.iter().any(|flag| flag.key == key) {
                    return None;
                }
                let flag = Flag {
                    key,
                    name: format!("Name {how}"),
                    enabled: how.is_multiple_of(2),
                    ..Flag::default()
                };
                let after = self.flag_json(&flag);
                self.flags.push(flag);
                done("flag", "created", after.clone(), Value::Null, after)
            }
            1 | 2 => {
                let at = which.checked_rem(self.flags.len())?;
                let before = self.flag_json(&self.flags[at]);
                let flag = &mut self.flags[at];
                match how % 4 {
                    0 => flag.enabled = !flag.enabled,
                    1 => flag.description = format!("about {how}"),
                    2 => {
                        flag.default =
                            flag.variants.first().and_then(|one| one["id"].as_str()).map(Into::into);
                    }
                    _ => {}
                }
                let after = self.flag_json(&self.flags[at]);
                done("flag", "updated", after.clone(), before, after)
            }
            3 if how.is_multiple_of(3) => {
                let at = which.checked_rem(self.flags.len())?;
                let before = self.flag_json(&self.flags[at]);
                let flag = self.flags.remove(at);
                done(
                    "flag",
                    "deleted",
                    json!({"key": flag.key, "namespace_key": namespace}),
                    before,
                    Value::Null,
                )
            }
            4 | 5 => {
                let id = self.id("variant");
                let flag = self.pick(which)?;
                let after = json!({"attachment": if how.is_multiple_of(2) { "" } else { "{\"color\":\"red\"}" },
                    "description": "", "flag_key": flag.key, "id": id, "key": format!("v{id}"), "name": "",
                    "namespace_key": namespace});
                flag.variants.push(after.clone());
                done("variant", "created", after.clone(), Value::Null, after)
            }
            6 => {
                let flag = self.pick(which)?;
                let at = (how as usize).checked_rem(flag.variants.len())?;
                let before = flag.variants[at].clone();
                let (name, to) = match how % 3 {
                    0 => ("key", format!("renamed-{how}")),
                    1 => ("attachment", format!("{{\"n\":{how}}}")),
                    _ => ("name", format!("Variant {how}")),
                };
                set(&mut flag.variants[at], name, to.into());
                let after = flag.variants[at].clone();
                done("variant", "updated", after.clone(), before, after)
            }
            7 if how.is_multiple_of(2) => {
                let flag = self.pick(which)?;
                let at = (how as usize).checked_rem(flag.variants.len())?;
                let before = flag.variants.remove(at);
                flag.distributions.retain(|one| one["variant_id"] != before["id"]);
                if flag.default.as_deref() == before["id"].as_str() {
                    flag.default = None;
                }
                let payload = json!({"flag_key": flag.key, "id": before["id"], "namespace_key": namespace});
                done("variant", "deleted", payload, before, Value::Null)
            }
            8 | 9 => {
                let id = self.id("rule");
                let segment = self.segments.get(which.checked_rem(self.segments.len())?)?["key"].clone();
                let flag = self.pick(which)?;
                let mut rule = json!({"flag_key": flag.key, "id": id, "namespace_key": namespace,
                    "rank": flag.rules.len() + 1, "segment_key": segment});
                if how.is_multiple_of(3) {
                    set(&mut rule, "segment_key", format!("{},other", segment.as_str()?).into());
                    set(&mut rule, "segment_operator", "AND_SEGMENT_OPERATOR".into());
                }
                flag.rules.push(rule.clone());
                let after = Self::rule_json(flag, &rule);
                done("rule", "created", after.clone(), Value::Null, after)
            }
            10 => {
                let flag = self.pick(which)?;
                let at = (how as usize).checked_rem(flag.rules.len())?;
                let before = Self::rule_json(flag, &flag.rules[at]);
                set(&mut flag.rules[at], "segment_key", format!("segment-{}", how % 3).into());
                let after = Self::rule_json(flag, &flag.rules[at]);
                done("rule", "updated", after.clone(), before, after)
            }
            11 => {
                let tells = self.tells_deleted;
                let flag = self.pick(which)?;
                let at = (how as usize).checked_rem(flag.rules.len())?;
                let before = Self::rule_json(flag, &flag.rules[at]);
                flag.rules.remove(at);
                flag.distributions.retain(|one| one["rule_id"] != before["id"]);
                renumber(&mut flag.rules);
                let short = json!({"flag_key": flag.key, "id": before["id"], "namespace_key": namespace});
                let payload = if tells { before.clone() } else { short };
                done("rule", "deleted", payload, before, Value::Null)
            }
            12 => {
                let flag = self.pick(which)?;
                let ids = reorder(&mut flag.rules, how)?;
                let payload = json!({"flag_key": flag.key, "namespace_key": namespace, "rule_ids": ids});
                done("rule", "updated", payload, Value::Null, Value::Null)
            }
            13 | 14 => {
                let id = self.id("distribution");
                let flag = self.pick(which)?;
                let rule = flag.rules.get((how as usize).checked_rem(flag.rules.len())?)?["id"].clone();
                let variant =
                    flag.variants.get((how as usize).checked_rem(flag.variants.len())?)?["id"].clone();
                let after = json!({"id": id, "rollout": f64::from(how % 101), "rule_id": rule, "variant_id": variant});
                flag.distributions.push(after.clone());
                done("distribution", "created", after.clone(), Value::Null, after)
            }
            15 | 16 => {
                let flag = self.pick(which)?;
                let at = (how as usize).checked_rem(flag.distributions.len())?;
                let before = flag.distributions[at].clone();
                set(&mut flag.distributions[at], "rollout", f64::from(how % 97).into());
                let after = flag.distributions[at].clone();
                done("distribution", "updated", after.clone(), before, after)
            }
            17 if how.is_multiple_of(2) => {
                let flag = self.pick(which)?;
                let at = (how as usize).checked_rem(flag.distributions.len())?;
                let before = flag.distributions.remove(at);
                let payload = json!({"flag_key": flag.key, "id": before["id"], "namespace_key": namespace,
                    "rule_id": before["rule_id"], "variant_id": before["variant_id"]});
                done("distribution", "deleted", payload, before, Value::Null)
            }
            18 => self.edit_rollouts(which, how),
            19 => {
                let key = format!("segment-{}", how % 3);
                if self.segments.iter().any(|segment| segment["key"] == key) {
                    return None;
                }
                let after = json!({"constraints": [], "description": "", "key": key,
                    "match_type": "ALL_MATCH_TYPE", "name": "S", "namespace_key": namespace});
                self.segments.push(after.clone());
                done("segment", "created", after.clone(), Value::Null, after)
            }
            20 => {
                let at = which.checked_rem(self.segments.len())?;
                let before = self.segments[at].clone();
                if how.is_multiple_of(5) {
                    self.segments.remove(at);
                    let payload = json!({"key": before["key"], "namespace_key": namespace});
                    return done("segment", "deleted", payload, before, Value::Null);
                }
                set(&mut self.segments[at], "name", format!("S {how}").into());
                let after = self.segments[at].clone();
                done("segment", "updated", after.clone(), before, after)
            }
            21 => self.edit_constraints(which, how),
            _ => None,
        }
    }

    fn edit_rollouts(&mut self, which: usize, how: u32) -> Option<Edit> {
        let (id, namespace, tells) = (self.id("rollout"), self.namespace.clone(), self.tells_deleted);
        let flag = self.pick(which)?;
        let done = |verb, payload: Value, before: Value, after: Value| {
            Some(Edit { noun: "rollout", verb, payload, before, after })
        };
        let at = (how as usize).checked_rem(flag.rollouts.len());
        match (how % 5, at) {
            (0 | 1, _) => {
                let mut after = json!({"description": "", "flag_key": flag.key, "id": id,
                    "namespace_key": namespace, "rank": flag.rollouts.len() + 1});
                if how.is_multiple_of(2) {
                    set(&mut after, "threshold", json!({"percentage": f64::from(how % 101), "value": true}));
                } else {
                    set(&mut after, "segment", json!({"key": "segment-1", "value": true}));
                }
                flag.rollouts.push(after.clone());
                done("created", after.clone(), Value::Null, after)
            }
            (2, Some(at)) => {
                let before = flag.rollouts[at].clone();
                set(&mut flag.rollouts[at], "description", format!("about {how}").into());
                let after = flag.rollouts[at].clone();
                done("updated", after.clone(), before, after)
            }
            (3, Some(at)) => {
                let before = flag.rollouts.remove(at);
                renumber(&mut flag.rollouts);
                let short = json!({"flag_key": flag.key, "id": before["id"], "namespace_key": namespace});
                done("deleted", if tells { before.clone() } else { short }, before, Value::Null)
            }
            (_, Some(_)) => {
                let ids = reorder(&mut flag.rollouts, how)?;
                let payload = json!({"flag_key": flag.key, "namespace_key": namespace, "rollout_ids": ids});
                done("updated", payload, Value::Null, Value::Null)
            }
            _ => None,
        }
    }

    fn edit_constraints(&mut self, which: usize, how: u32) -> Option<Edit> {
        let (id, namespace) = (self.id("constraint"), self.namespace.clone());
        let at = which.checked_rem(self.segments.len())?;
        let segment = &mut self.segments[at];
        let key = segment["key"].clone();
        let list = segment["constraints"].as_array_mut()?;
        let done = |verb, payload: Value, before: Value, after: Value| {
            Some(Edit { noun: "constraint", verb, payload, before, after })
        };
        match (how % 3, (how as usize / 3).checked_rem(list.len())) {
            (1, Some(at)) => {
                let before = list[at].clone();
                set(&mut list[at], "value", format!("value {how}").into());
                done("updated", list[at].clone(), before, list[at].clone())
            }
            (2, Some(at)) => {
                let before = list.remove(at);
                let payload = json!({"id": before["id"], "namespace_key": namespace, "segment_key": key});
                done("deleted", payload, before, Value::Null)
            }
            _ => {
                let after = json!({"id": id, "namespace_key": namespace, "operator": "eq", "property": "country",
                    "segment_key": key, "type": "STRING_COMPARISON_TYPE", "value": format!("v{how}")});
                list.push(after.clone());
                done("created", after.clone(), Value::Null, after)
            }
        }
    }

    fn pick(&mut self, which: usize) -> Option<&mut Flag> {
        let at = which.checked_rem(self.flags.len())?;
        self.flags.get_mut(at)
    }

    /// All that it holds, as its API would tell it.
    pub(crate) fn snapshot(&self) -> Vec<Imported> {
        let one = |kind, id: &Value, owner: (EntityKind, &str), state: Value| Imported {
            kind,
            id: id.as_str().unwrap_or_default().to_owned(),
            owner: (owner.0, owner.1.to_owned()),
            state: state.to_string().into(),
        };
        let mut all = Vec::new();
        for flag in &self.flags {
            let owner = (EntityKind::Flag, flag.key.as_str());
            all.push(one(EntityKind::Flag, &json!(flag.key), owner, self.flag_json(flag)));
            for (kind, list) in [
                (EntityKind::Variant, &flag.variants),
                (EntityKind::Rule, &flag.rules),
                (EntityKind::Distribution, &flag.distributions),
                (EntityKind::Rollout, &flag.rollouts),
            ] {
                all.extend(list.iter().map(|state| one(kind, &state["id"], owner, state.clone())));
            }
        }
        for segment in &self.segments {
            let key = segment["key"].as_str().unwrap_or_default();
            let owner = (EntityKind::Segment, key);
            all.push(one(EntityKind::Segment, &segment["key"], owner, without(segment, &["constraints"])));
            let constraints = segment["constraints"].as_array().into_iter().flatten();
            all.extend(
                constraints.map(|state| one(EntityKind::Constraint, &state["id"], owner, state.clone())),
            );
        }
        all
    }
}

impl Edit {
    /// The line that Flipt would write.
    pub(crate) fn line(&self, actor: &str, time: &str) -> String {
        format!(
            r#"{{"version":"0.2","type":"{}","action":"{}","status":"success","metadata":{{"actor":{{"authentication":"oidc","ip":"10.1.2.3","email":"{actor}@example.com","name":"{actor}"}}}},"payload":{},"timestamp":"{time}"}}"#,
            self.noun, self.verb, self.payload
        )
    }
}

/// Ranks are 1, 2, 3, in the order that is left.
fn renumber(list: &mut [Value]) {
    list.sort_by_key(|one| one["rank"].as_u64());
    for (index, one) in list.iter_mut().enumerate() {
        set(one, "rank", (index + 1).into());
    }
}

fn reorder(list: &mut [Value], how: u32) -> Option<Vec<Value>> {
    let by = (how as usize).checked_rem(list.len())?;
    list.rotate_left(by);
    for (index, one) in list.iter_mut().enumerate() {
        set(one, "rank", (index + 1).into());
    }
    Some(list.iter().map(|one| one["id"].clone()).collect())
}

//! What events meet and leave behind, one family at a time; `journal/tests/states.rs` compares with a Flipt that
//! knows the truth.

use serde_json::{Value, json};

use super::*;
use crate::event::{Known, Without};
use crate::flipt::{AuditEvent, keys_and_news};

/// A family, and the events that come to it.
struct Meeting {
    family: Family,
    shares_writers: bool,
    sequence: Sequence,
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros((1_795_000_000 + seconds) * 1_000_000)
}

impl Meeting {
    fn new(kind: EntityKind, key: &str) -> Self {
        Self { family: Family::new(kind, key.to_owned()), shares_writers: false, sequence: 0 }
    }

    fn flag() -> Self {
        Self::new(EntityKind::Flag, "c")
    }

    /// An event of so many seconds; its words are `noun:verb`.
    fn meet(&mut self, words: &str, payload: &Value, seconds: i64) -> Known {
        self.meet_with(words, payload, seconds, None)
    }

    fn meet_with(&mut self, words: &str, payload: &Value, seconds: i64, users: Option<&Users>) -> Known {
        let (noun, verb) = words.split_once(':').unwrap();
        let line = json!({"type": noun, "action": verb, "payload": payload}).to_string();
        let event = AuditEvent::parse(&line).unwrap();
        let (keys, news) = keys_and_news(&event, "flipt");
        self.sequence += 1;
        self.family.arrive(&Arrival {
            entity: keys.entity.as_ref(),
            news: &news.unwrap(),
            event_time: Some(time(seconds)),
            accepted_at: time(1_000_000),
            sequence: self.sequence,
            shares_writers: self.shares_writers,
            users,
        })
    }

    fn flag_is(&mut self, verb: &str, enabled: bool, seconds: i64) -> Known {
        let payload =
            json!({"description": "", "enabled": enabled, "key": "c", "name": "C", "namespace_key": "n"});
        self.meet(&format!("flag:{verb}"), &payload, seconds)
    }
}

fn rollout(id: &str, rank: u32, percentage: u32) -> Value {
    json!({"flag_key": "c", "id": id, "namespace_key": "n", "rank": rank,
        "threshold": {"percentage": percentage, "value": true}})
}

fn rule(id: &str, rank: u32, distributions: &[Value]) -> Value {
    json!({"distributions": distributions, "flag_key": "c", "id": id, "namespace_key": "n", "rank": rank,
        "segment_key": "s"})
}

fn share(id: &str, rollout: u32) -> Value {
    json!({"flag_key": "c", "id": id, "rollout": rollout, "rule_id": "r", "variant_id": "v"})
}

fn order(ids: &[&str]) -> Value {
    json!({"flag_key": "c", "namespace_key": "n", "rollout_ids": ids})
}

fn imported(kind: EntityKind, id: &str, state: &Value) -> Imported {
    Imported {
        kind,
        id: id.to_owned(),
        owner: (EntityKind::Flag, "c".to_owned()),
        state: state.to_string().into(),
    }
}

fn before(known: &Known) -> Option<Value> {
    known.before.as_ref().map(|json| serde_json::from_str(json.get()).unwrap())
}

#[test]
fn whether_a_flag_is_live_is_not_guessed() {
    let mut seen = Meeting::flag();
    assert_eq!(seen.flag_is("created", false, 1).live, Some(false));
    assert_eq!(seen.flag_is("updated", false, 2).live, Some(false), "it was seen to begin");
    assert_eq!(seen.meet("rollout:created", &rollout("o", 1, 10), 3).live, Some(true));
    assert_eq!(seen.flag_is("updated", false, 4).live, Some(true), "it has a rollout");
    assert_eq!(seen.meet("rollout:deleted", &rollout("o", 1, 10), 5).live, Some(true));
    assert_eq!(seen.flag_is("updated", false, 6).live, Some(false));

    let mut met = Meeting::flag();
    assert_eq!(met.flag_is("updated", false, 1).live, None, "it may have rollouts");
    assert_eq!(met.flag_is("updated", false, 2).live, None);
    let variant = json!({"flag_key": "c", "id": "v", "key": "on", "namespace_key": "n"});
    assert_eq!(met.meet("variant:created", &variant, 3).live, Some(false), "what has variants has none");
    assert_eq!(met.flag_is("updated", true, 4).live, Some(true));
}

#[test]
fn rollouts_without_an_id_leave_nothing_known_of_rollouts() {
    let mut flag = Meeting::flag();
    flag.flag_is("created", false, 1);
    flag.meet("rollout:created", &rollout("o", 1, 10), 2);
    let nameless = json!({"flag_key": "c", "namespace_key": "n", "rank": 1, "threshold": {"percentage": 90, "value": true}});
    let known = flag.meet("rollout:updated", &nameless, 3);
    assert_eq!((known.live, known.without), (Some(true), Some(Without::NotKept)));
    let gone = json!({"flag_key": "c", "id": "o", "namespace_key": "n"});
    assert_eq!(flag.meet("rollout:deleted", &gone, 4).without, Some(Without::FirstSeen));
    assert_eq!(flag.flag_is("updated", false, 5).live, None);
}

#[test]
fn who_uses_a_segment_is_known_only_where_all_is() {
    let live = |flags: &[Option<bool>], count, is_complete| {
        let flags: Vec<_> = flags.iter().map(|on| ("c".to_owned(), *on)).collect();
        let users = Users { flags, count, is_complete };
        let mut segment = Meeting::new(EntityKind::Segment, "s");
        let payload = json!({"constraints": [], "key": "s", "name": "S", "namespace_key": "n"});
        let known = segment.meet_with("segment:updated", &payload, 1, Some(&users));
        (known.live, known.used_by.map(|users| users.count))
    };
    assert_eq!(live(&[Some(false), Some(true)], 2, false), (Some(true), Some(2)));
    assert_eq!(live(&[Some(false)], 230, false), (None, Some(230)));
    assert_eq!(live(&[Some(false)], 1, true), (Some(false), Some(1)));
    assert_eq!(live(&[None], 1, true), (None, Some(1)));
    assert_eq!(live(&[], 0, true), (Some(false), None));
}

#[test]
fn a_new_order_is_not_told_by_an_import_that_knew_it() {
    let mut flag = Meeting::flag();
    let all = [
        imported(EntityKind::Flag, "c", &json!({"enabled": true, "key": "c"})),
        imported(EntityKind::Rollout, "b", &rollout("b", 1, 20)),
        imported(EntityKind::Rollout, "a", &rollout("a", 2, 10)),
    ];
    assert_eq!(flag.family.import(&all, time(100)), 3);
    let known = flag.meet("rollout:updated", &order(&["b", "a"]), 50);
    assert_eq!(known.without, Some(Without::OlderThanImport));
    assert!(known.order.iter().all(|place| place.was.is_none() && place.state.is_none()));
    let known = flag.meet("rollout:updated", &order(&["a", "b"]), 150);
    assert_eq!(known.order.iter().map(|place| place.was).collect::<Vec<_>>(), [Some(2), Some(1)]);
    assert_eq!(known.seen.map(|seen| seen.at), Some(time(100)));
}

#[test]
fn a_deletion_takes_along_what_was_there_and_not_what_came_later() {
    let mut flag = Meeting::flag();
    let all = [
        imported(EntityKind::Flag, "c", &json!({"enabled": true, "key": "c"})),
        imported(EntityKind::Rollout, "o", &rollout("o", 1, 20)),
    ];
    flag.family.import(&all, time(100));
    let gone = json!({"key": "c", "namespace_key": "n"});
    assert_eq!(flag.meet("flag:deleted", &gone, 50).closed, None);

    let mut seen = Meeting::flag();
    seen.flag_is("created", true, 1);
    seen.meet("rollout:created", &rollout("o", 1, 20), 2);
    assert_eq!(seen.meet("flag:deleted", &gone, 3).closed.map(|closed| closed.count), Some(1));
    let mut met = Meeting::flag();
    met.meet("rollout:created", &rollout("o", 1, 20), 2);
    assert_eq!(met.meet("flag:deleted", &gone, 3).closed, None, "there may have been more");
}

#[test]
fn what_is_late_brings_nothing_back() {
    let gone = json!({"key": "c", "namespace_key": "n"});
    let mut flag = Meeting::flag();
    flag.flag_is("created", true, 1);
    flag.meet("flag:deleted", &gone, 100);
    flag.flag_is("created", false, 110);
    let known = flag.meet("rollout:created", &rollout("o", 1, 10), 50);
    assert_eq!((known.without, known.late.unwrap().newest), (Some(Without::Late), time(110)));
    assert_eq!(flag.flag_is("updated", false, 120).closed, None);
    assert_eq!(flag.meet("flag:deleted", &gone, 130).closed, None);

    let mut flag = Meeting::flag();
    flag.flag_is("created", true, 1);
    flag.meet("rule:created", &rule("r", 1, &[]), 2);
    flag.meet("distribution:created", &share("d", 60), 3);
    flag.meet("rule:updated", &rule("r", 1, &[]), 20);
    assert_eq!(flag.meet("distribution:updated", &share("d", 50), 10).without, Some(Without::Late));
    let known = flag.meet("rule:updated", &rule("r", 1, &[]), 30);
    assert_eq!(before(&known).unwrap()["distributions"], json!([]));
}

#[test]
fn what_is_late_leaves_doubt_where_it_may_have_changed_something() {
    let mut flag = Meeting::flag();
    flag.flag_is("created", true, 1);
    flag.meet("rollout:created", &rollout("a", 1, 10), 2);
    flag.meet("rollout:created", &rollout("b", 2, 20), 3);
    flag.meet("rollout:updated", &order(&["b", "a"]), 20);
    // The order that came since may or may not know of this.
    let known = flag.meet("rollout:updated", &rollout("a", 1, 15), 10);
    assert_eq!(known.without, Some(Without::Late));
    assert_eq!(flag.meet("rollout:updated", &rollout("a", 2, 30), 40).without, Some(Without::FirstSeen));
    let known = flag.meet("rollout:updated", &rollout("b", 1, 25), 41);
    assert_eq!(before(&known), Some(rollout("b", 1, 20)));

    flag.meet("rollout:deleted", &json!({"flag_key": "c", "id": "a", "namespace_key": "n"}), 12);
    let known = flag.meet("rollout:updated", &rollout("b", 1, 26), 42);
    assert_eq!(before(&known).unwrap()["rank"], Value::Null, "ranks may have closed up before the order");
}

#[test]
fn events_of_one_moment_need_not_come_in_order() {
    let mut flag = Meeting::flag();
    flag.flag_is("created", true, 1);
    flag.meet("rule:created", &rule("r", 1, &[]), 2);
    flag.meet("distribution:created", &share("d", 60), 11);
    let known = flag.meet("distribution:created", &share("e", 40), 10);
    assert_eq!((known.without, known.late.is_none()), (Some(Without::Created), true));
}

#[test]
fn where_others_write_nothing_is_told_of_what_was_or_is() {
    let mut flag = Meeting { shares_writers: true, ..Meeting::flag() };
    flag.flag_is("updated", true, 100);
    let late = flag.flag_is("updated", false, 60).late.unwrap();
    assert_eq!((late.current.is_none(), late.is_deleted), (true, false));
    flag.meet("rollout:created", &rollout("a", 1, 10), 101);
    let known = flag.meet("rollout:updated", &order(&["a"]), 102);
    assert!(known.order.iter().all(|place| place.was.is_none() && place.state.is_none()));
    assert_eq!(known.without, Some(Without::SharedWriters));
}

#[test]
fn a_time_far_ahead_is_not_believed() {
    let mut flag = Meeting::flag();
    flag.flag_is("updated", true, 999_000_000);
    let known = flag.flag_is("updated", false, 1_000_001);
    assert!(known.late.is_none());
    assert_eq!(before(&known).unwrap()["enabled"], true);
}

#[test]
fn what_is_large_is_not_kept() {
    let mut flag = Meeting::flag();
    let variant = |bytes: usize| json!({"attachment": "x".repeat(bytes), "flag_key": "c", "id": "v", "key": "on", "namespace_key": "n"});
    flag.meet("variant:created", &variant(100_000), 1);
    assert_eq!(flag.meet("variant:updated", &variant(10), 2).without, Some(Without::TooLarge));
    assert!(flag.meet("variant:updated", &variant(11), 3).before.is_some());
    let many: Vec<Value> = (0..20)
        .map(|id| json!({"id": format!("d{id}"), "rule_id": "r", "note": "y".repeat(5_000)}))
        .collect();
    flag.meet("rule:created", &rule("r", 1, &[]), 4);
    for one in &many {
        flag.meet(
            "distribution:created",
            &json!({"flag_key": "c", "id": one["id"], "rule_id": "r", "note": one["note"]}),
            5,
        );
    }
    assert_eq!(flag.meet("rule:updated", &rule("r", 1, &[]), 6).without, Some(Without::TooLarge));
}

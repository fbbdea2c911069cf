//! Edits that belong together.

use serde_json::json;

use super::{QUICK, place};
use crate::support::datadog::Taken;
use crate::support::{FakeDatadog, Line, ago, flag};

const ROLLOUT: &str = "e1e2e3e4-0000-4000-8000-00000000000e";

fn share(percentage: u32) -> serde_json::Value {
    json!({"description": "", "flag_key": "checkout", "id": ROLLOUT, "namespace_key": "default", "rank": 1,
        "threshold": {"percentage": percentage, "value": true}})
}

fn set_of(event: &Taken) -> String {
    let sets = event.all("change_set");
    assert_eq!(sets.len(), 1, "{event:#?}");
    sets[0].clone()
}

#[test]
fn edits_of_one_set_are_one_event_and_later_ones_another_of_the_same_set() {
    let datadog = FakeDatadog::start();
    let place = place(&datadog, &QUICK.replace("100ms", "500ms"));
    // From before the set.
    place.append("audit.log", Line::flag("created", "checkout", false, "").at(ago(900)).text());
    place.append("audit.log", Line::new("rollout", "created", share(10)).at(ago(890)).text());
    let relay = place.run();
    place.wait_for_standing("datadog", &json!({"waiting": 0, "delivered": 2}));
    let before = datadog.taken().len();

    let first = ago(30);
    place.append(
        "audit.log",
        Line::flag("updated", "checkout", true, "").at(first).text()
            + &Line::new("rollout", "updated", share(25)).at(ago(20)).text(),
    );
    place.wait_for_standing("datadog", &json!({"waiting": 0, "delivered": 4}));
    place.append("audit.log", Line::new("rollout", "updated", share(50)).at(ago(5)).text());
    place.wait_for_standing("datadog", &json!({"waiting": 0, "delivered": 5, "dead": 0}));
    let taken = datadog.taken();
    let [one, two] = &taken[before..] else { panic!("{taken:#?}") };

    assert_eq!(set_of(one), set_of(two));
    assert_ne!(set_of(one), set_of(&taken[0]), "a set ends after a while");
    let (ids, later) = (one.all("event_ids"), two.all("event_ids"));
    assert_eq!((ids.len(), later.len()), (2, 1), "{ids:?} {later:?}");
    assert!(!ids.contains(&later[0]));
    assert!(one.title().contains("checkout") && one.title().contains("ON"), "{}", one.title());
    // Only what is new: from 25 % on, and nothing of the flag being on.
    assert!(!two.title().contains("ON"), "{}", two.title());
    let (prev, new) = (
        two.attribute("attributes")["prev_value"].to_string(),
        two.attribute("attributes")["new_value"].to_string(),
    );
    assert!(prev.contains("25") && new.contains("50"), "{prev} {new}");
    assert!(!prev.contains("enabled") && !new.contains("enabled"), "{prev} {new}");
    assert_eq!(one.time(), Some(crate::support::whole(first)));
    assert!(relay.stop().status.success());
}

#[test]
fn flags_do_not_wait_for_one_another() {
    let datadog = FakeDatadog::start();
    let place = place(&datadog, QUICK);
    let edits = (0..30).map(|number| {
        let key = format!("flag-{}", number % 10);
        Line::new("flag", "updated", flag(&key, true, &format!("edit {number}"))).at(ago(40 - number)).text()
    });
    place.append("audit.log", edits.collect::<String>());
    let relay = place.run();
    place.wait_for_standing("datadog", &json!({"waiting": 0, "delivered": 30, "dead": 0}));
    let taken = datadog.taken();
    assert_eq!(taken.len(), 10, "one event for each set: {taken:#?}");
    let mut ids: Vec<String> = taken.iter().flat_map(|event| event.all("event_ids")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 30);
    assert!(relay.stop().status.success());
}

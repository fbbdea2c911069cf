//! A burst, and what the journal says that each message carried.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::place;
use crate::support::slack::Mood;
use crate::support::{FakeSlack, Line};

const EVENTS: usize = 5_000;
/// Every tenth belongs to an environment that is not routed.
const UNROUTED: usize = 10;
const WITHIN: Duration = Duration::from_secs(2);
const CHUNKS: usize = 100;

fn read(journal: &Path) -> Connection {
    Connection::open_with_flags(journal, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// The members of every group that is on its way, as the journal says at this moment.
fn open_batches(journal: &Path) -> Vec<Vec<u64>> {
    let conn = read(journal);
    let mut statement = conn
        .prepare(
            "SELECT members FROM batches JOIN destinations ON destinations.id = batches.destination
             WHERE destinations.name = 'slack'",
        )
        .unwrap();
    let members = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let rows = statement.query_map([], members).unwrap();
    rows.map(|text| serde_json::from_str(&text.unwrap()).unwrap()).collect()
}

fn routed(journal: &Path) -> BTreeSet<u64> {
    let conn = read(journal);
    let mut statement = conn.prepare("SELECT sequence FROM records WHERE namespace = 'default'").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    rows.map(|sequence| u64::try_from(sequence.unwrap()).unwrap()).collect()
}

fn line(number: usize) -> String {
    let actor = ["Ann", "Ben", "Cas"][number / 100 % 3];
    let key = format!("flag-{}", number % 40);
    let line = Line::flag("updated", &key, number.is_multiple_of(3), &format!("edit {number}")).by(actor);
    match number % UNROUTED {
        0 => line.within("elsewhere").text(),
        _ => line.text(),
    }
}

#[test]
fn a_burst_of_thousands_is_told_whole_at_one_message_a_second() {
    let journal = Arc::new(OnceLock::<PathBuf>::new());
    let carried = Arc::new(Mutex::new(Vec::new()));
    let slack = {
        let (journal, carried) = (Arc::clone(&journal), Arc::clone(&carried));
        FakeSlack::watched(move |_| {
            carried.lock().unwrap().push(open_batches(journal.get().unwrap()));
        })
    };
    slack.next(Mood::Limited(1));
    let webhook = format!("webhook_url: '{}'", slack.webhook_url());
    let place = place(&webhook, "group_wait: 300ms, deliver_since: beginning");
    journal.set(place.path("data/journal.db")).unwrap();
    let relay = place.run();

    let begun = Instant::now();
    for chunk in 0..CHUNKS {
        let numbers = chunk * EVENTS / CHUNKS..(chunk + 1) * EVENTS / CHUNKS;
        place.append("audit.log", numbers.map(line).collect::<String>());
        // The pace of the burst.
        let due = WITHIN * u32::try_from(chunk + 1).unwrap() / u32::try_from(CHUNKS).unwrap();
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    let expected = EVENTS - EVENTS / UNROUTED;
    place.wait_for_standing(
        "slack",
        &json!({"delivered": expected, "not_routed": EVENTS / UNROUTED, "left_out": 0, "waiting": 0, "dead": 0}),
    );
    let log = relay.stop().log;

    let received = slack.received();
    let carried = carried.lock().unwrap();
    assert_eq!(carried.len(), received.len());
    let mut told = BTreeSet::new();
    for (request, groups) in received.iter().zip(carried.iter()) {
        let [members] = groups.as_slice() else {
            panic!("{} groups were on their way at once", groups.len());
        };
        if request.status == 200 {
            for member in members {
                assert!(told.insert(*member), "record {member} was told twice");
            }
        }
    }
    assert_eq!(told, routed(&place.path("data/journal.db")));
    assert_eq!(told.len(), expected);

    // The first was refused for the limit; it came again as it was, and no other was.
    let refused: Vec<u16> =
        received.iter().map(|request| request.status).filter(|status| *status != 200).collect();
    assert_eq!((refused.as_slice(), received[0].status), (&[429][..], 429), "{log}");
    assert_eq!(carried[0], carried[1]);
    for pair in received.windows(2) {
        let apart = pair[1].at - pair[0].at;
        assert!(apart >= Duration::from_secs(1), "two within {apart:?}");
    }
    for message in slack.messages() {
        let blocks = message.body["blocks"].as_array().map_or(0, Vec::len);
        let length = message.said().chars().count();
        assert!(blocks <= 50 && length <= 10_000 + message.text().chars().count() + 50, "{blocks}, {length}");
    }
    assert!(received.len() <= 15, "{} messages", received.len());
}

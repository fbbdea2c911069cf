//! Whatever bytes are pushed: they are read or refused, and what is kept is what came.
#![no_main]

use audit_relay::event::RecordKind;
use audit_relay::flipt::{LineKind, read_line};
use audit_relay::source::http::{MAX_ITEMS, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(records) = read(body, "flipt") else { return };
    assert!(records.len() <= MAX_ITEMS);
    let mut rest = body;
    for record in &records {
        assert!(record.id.is_none());
        assert_eq!(record.detail.is_none(), record.kind == RecordKind::Event);
        // Every original stands in the body, in order, and not into another.
        let at = rest.windows(record.original.len()).position(|window| window == record.original);
        rest = &rest[at.expect("an original that did not come") + record.original.len()..];
        // What was taken for an event is one wherever it is read again.
        if record.kind == RecordKind::Event {
            let kind = read_line(&record.original, record.framing, "flipt");
            assert!(matches!(kind, LineKind::Event { .. }));
        }
    }
});

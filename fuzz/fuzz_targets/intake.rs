//! Whatever bytes are pushed, and whatever stands in a line: they are read or refused, and what is kept is what
//! came.
#![no_main]

use audit_relay::event::{Framing, RecordKind};
use audit_relay::flipt::{Found, LineKind, event_data, find, read_line, unwrap, webhook_body};
use audit_relay::source::http::{MAX_ITEMS, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    push(bytes);
    for framing in [Framing::Auto, Framing::Cri] {
        line(bytes, framing);
    }
});

fn push(body: &[u8]) {
    let Ok(records) = read(body, "flipt") else { return };
    assert!(records.len() <= MAX_ITEMS);
    let mut rest = body;
    for record in &records {
        assert!(record.id.is_none());
        assert_eq!(record.detail.is_none(), record.kind == RecordKind::Event);
        // Every original stands in the body, in order, and not into another.
        let at = rest.windows(record.original.len()).position(|window| window == record.original);
        rest = &rest[at.expect("an original that did not come") + record.original.len()..];
        if record.kind == RecordKind::Event {
            line(&record.original, record.framing);
        }
    }
}

fn line(text: &[u8], framing: Framing) {
    let kind = read_line(text, framing, "flipt");
    let json = unwrap(text, framing);
    let mut out = Vec::new();
    if let Ok(json) = &json {
        let made = webhook_body(json, &mut out);
        if matches!(kind, LineKind::Event { .. }) {
            // What we would send in Flipt's place can be read again.
            assert!(made.is_ok());
            assert!(!matches!(read_line(&out, Framing::Auto, "flipt"), LineKind::Unparsed { .. }));
            assert!(matches!(find(&out), Found::Json(_)));
        }
        out.clear();
        let _ = event_data(json, &mut out);
    } else {
        assert!(!matches!(kind, LineKind::Event { .. }));
    }
}

//! Whatever bytes stand in a line: what is read of an event can be told again, and the change that it makes is one.
#![no_main]

use audit_relay::destination::{envelope, telling};
use audit_relay::event::Framing;
use audit_relay::flipt::{Found, LineKind, event_data, find, read_line, unwrap, webhook_body};
use audit_relay_fuzz::deliveries;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_target!(|bytes: &[u8]| {
    for framing in [Framing::Auto, Framing::Cri] {
        line(bytes, framing);
    }
    for delivery in deliveries(bytes) {
        let mut whole = Vec::new();
        envelope::envelope(&delivery, &mut whole);
        let _: Box<RawValue> = serde_json::from_slice(&whole).expect("an envelope is JSON");
        // Half a character, written as `\ud800`, is passed on as it came, and serde_json makes no string of it.
        if let Ok(whole) = serde_json::from_slice::<Value>(&whole) {
            assert_eq!(whole["id"], delivery.record.id.to_string());
        }
        let sentence = telling::sentence(&delivery).to_string();
        assert!((1..=500).contains(&sentence.chars().count()), "{sentence:?}");
        assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    }
});

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

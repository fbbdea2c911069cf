//! Whatever somebody writes as a template: it is refused with a line, or renders every kind of record within its
//! bounds, and as JSON where it says so. The first byte is the content type; a NUL parts a header from the body.
#![no_main]

use std::sync::LazyLock;

use audit_relay::config::plan::TemplatePlan;
use audit_relay::config::secret::Secret;
use audit_relay::destination::Delivery;
use audit_relay::destination::template::{Template, samples};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const TYPES: [&str; 4] = ["application/json", "application/x-ndjson", "text/html", "text/plain"];

static SAMPLES: LazyLock<Vec<Delivery>> = LazyLock::new(samples);

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, text)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (body, header) = text.split_once('\0').unwrap_or((text, ""));
    let content_type = TYPES[usize::from(kind & 3)];
    let plan = TemplatePlan {
        body: Secret::new(body),
        headers: vec![("x-what".to_owned(), Secret::new(header))],
        content_type: content_type.to_owned(),
    };
    let Ok(template) = Template::new(&plan) else { return };
    // Each kind of record by turns: rendering all of them would be slow, and finds no more.
    for delivery in SAMPLES.iter().skip(usize::from(kind >> 2) % 5).step_by(5) {
        let Ok(Some(made)) = template.render(delivery) else { continue };
        assert!(made.body.len() <= 1 << 20);
        if content_type == "application/json" {
            serde_json::from_slice::<Value>(&made.body).expect("JSON");
        }
        for (_, value) in &made.headers {
            let value = value.expose();
            assert!(!value.chars().any(char::is_control), "{value:?}");
        }
    }
});

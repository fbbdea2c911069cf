//! Whatever events hold: no message breaks a limit of Slack, pings, links, formats, or loses an event. The first
//! byte says how they are told.
#![no_main]

use std::sync::LazyLock;

use audit_relay::destination::Destination;
use audit_relay_fuzz::slack_limits::{harm, malformed};
use audit_relay_fuzz::{bodies, deliveries, destination};
use libfuzzer_sys::fuzz_target;

static SLACK: LazyLock<[Box<dyn Destination + Send + Sync>; 2]> =
    LazyLock::new(|| ["slack_webhook", "slack_bot"].map(|name| destination(name)));

fuzz_target!(|bytes: &[u8]| {
    let Some((how, lines)) = bytes.split_first() else { return };
    let group = deliveries(lines);
    if group.is_empty() {
        return;
    }
    for body in bodies(&*SLACK[usize::from(how & 1)], group, how & 2 != 0) {
        assert_eq!(malformed(&body), None, "{body:#}");
        assert_eq!(harm(&body), None, "{body:#}");
    }
});

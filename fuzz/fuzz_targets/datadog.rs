//! Whatever events hold: no event for Datadog breaks a limit of either version of its API or its schema, and none
//! is lost. The first byte says how they are told.
#![no_main]

use std::sync::LazyLock;

use audit_relay::destination::{Delivery, Destination};
use audit_relay_fuzz::datadog_limits::{Version, fault};
use audit_relay_fuzz::{bodies, deliveries, destination};
use libfuzzer_sys::fuzz_target;

static DATADOG: LazyLock<[(Version, Box<dyn Destination + Send + Sync>); 4]> = LazyLock::new(|| {
    [
        (Version::V2, "datadog_v2"),
        (Version::V2, "datadog_v2_all"),
        (Version::V1, "datadog_v1"),
        (Version::V1, "datadog_v1_all"),
    ]
    .map(|(version, name)| (version, destination(name)))
});

fuzz_target!(|bytes: &[u8]| {
    let Some((how, lines)) = bytes.split_first() else { return };
    let (version, datadog) = &DATADOG[usize::from(how & 3)];
    for set in sets(deliveries(lines)) {
        for body in bodies(&**datadog, set, how & 4 != 0) {
            assert_eq!(fault(*version, &body, None), None, "{body:#}");
        }
    }
});

/// Change sets, and alone what stands alone.
fn sets(all: Vec<Delivery>) -> Vec<Vec<Delivery>> {
    let mut sets: Vec<Vec<Delivery>> = Vec::new();
    for delivery in all {
        let set = &delivery.record.change_set;
        match sets.last_mut().filter(|last| set.is_some() && last[0].record.change_set == *set) {
            Some(last) => last.push(delivery),
            None => sets.push(vec![delivery]),
        }
    }
    sets
}

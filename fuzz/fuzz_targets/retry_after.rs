//! Whatever a receiver says: no wait is longer than an hour, and seconds mean what they say. The first
//! eight bytes are the clock, in microseconds since 1970.
#![no_main]

use std::time::Duration;

use audit_relay::destination::retry_after::retry_after;
use audit_relay::event::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((clock, value)) = bytes.split_first_chunk::<8>() else { return };
    let value = String::from_utf8_lossy(value);
    let now = Timestamp::from_unix_micros(i64::from_le_bytes(*clock) >> 8);
    let wait = retry_after(&value, now);
    assert!(wait.is_none_or(|wait| wait <= Duration::from_secs(3_600)));
    if let Ok(seconds) = value.trim().parse::<u64>()
        && !value.trim().starts_with('+')
    {
        assert_eq!(wait, Some(Duration::from_secs(seconds.min(3_600))));
    }
});

//! What the tests are made of: a relay process, a receiver, lines of Flipt.

mod asking;
mod collector;
pub mod datadog;
mod flipt;
mod lines;
mod pushing;
mod raw;
mod receiver;
mod relay;
pub mod slack;
pub mod web;

pub use asking::memory_kib;
pub use collector::{Collector, Span};
pub use datadog::FakeDatadog;
pub use flipt::FakeFlipt;
pub use lines::{Line, ago, flag, flag_line, line_with, whole};
pub use pushing::{Answered, Client, flipt_signature, request};
pub use raw::{Act, Certificates, Raw};
pub use receiver::{Received, Receiver, Reply};
pub use relay::{Exit, Relay, Workplace, binary};
pub use slack::FakeSlack;

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Never a measure of anything.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Looks again and again until `look` gives something; panics with `what` when patience ends.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A small generator of numbers from a seed (SplitMix64), so that a schedule can be given again.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

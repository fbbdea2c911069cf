//! Carries records to destinations: the lane of each destination, its retries, and the one sender.
//!
//! [`Lane`] reads, commits and sends; what it does when is decided by its `engine`, which does no I/O and
//! stands on `window` (order), `endpoint` (is the receiver well?), `parcel` (what travels together),
//! `resuming` (what a restart has to repeat), `rate` and `retry`.

mod build;
mod clock;
mod courier;
mod endpoint;
mod engine;
mod handle;
mod inbox;
mod judge;
mod lane;
mod memory;
mod meter;
mod overflow;
mod parcel;
mod rate;
mod replay;
mod resuming;
mod retry;
mod sender;
mod standing;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use build::{build, link};
pub(crate) use courier::outcome_of;
pub use handle::{LaneHandle, LaneOrder, LaneState, LaneStatus};
pub(crate) use judge::is_journal_only;
pub use judge::{Judge, ReplayFilter, decisions, with_facts};
pub use lane::{Lane, LaneEnd, LaneSetup, Role, Stop};
pub use memory::Memory;
pub use meter::{DURATION_BOUNDS_SECONDS, Meter, MeterReading, Minute};
pub use overflow::Overflow;
pub use retry::retry_delay;
pub use sender::{Fetched, SendError, Sender};

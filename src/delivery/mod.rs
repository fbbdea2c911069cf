//! Carries records to destinations: the lane of each destination, its retries, and the one sender.

mod inbox;
mod lane;
mod retry;
mod sender;
mod status;

pub use lane::{Lane, LaneEnd, LaneSetup, Stop};
pub use retry::retry_delay;
pub use sender::{SendError, Sender};
pub use status::{LaneState, LaneStatus};

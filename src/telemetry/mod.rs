//! How the relay tells what it does.

pub mod instruments;
pub mod logs;
pub mod process;
pub mod prometheus;

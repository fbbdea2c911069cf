//! How the relay tells what it does.

pub mod logs;

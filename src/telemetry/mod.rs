//! How the relay tells what it does.

pub mod instruments;
pub mod logs;
pub mod otlp;
pub mod process;
pub mod prometheus;
pub mod settings;
pub mod traces;

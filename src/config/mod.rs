//! What may be written, and the plan it means.
pub mod plan;
pub mod secret;

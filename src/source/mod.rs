//! Where records enter: each source turns what it meets into records and hands them to the journal.

pub mod file;

//! `audit-relay schema`: the JSON Schema of the configuration.

use std::io::Write as _;
use std::process::ExitCode;

use crate::config::json_schema;

/// Prints the JSON Schema (draft 2020-12) of the configuration, for editors.
#[derive(Debug, Clone, clap::Args)]
pub struct SchemaArgs {}

/// Prints the schema.
#[must_use]
pub fn run(_: SchemaArgs) -> ExitCode {
    match std::io::stdout().lock().write_all(text().as_bytes()) {
        // Whoever closed the pipe has seen enough.
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// The schema as it is printed, and kept in `config/audit-relay.schema.json`.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", json_schema())
}

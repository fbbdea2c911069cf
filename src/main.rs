//! `audit-relay`: see [`audit_relay`] for the rooms of the house.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    audit_relay::cli::main()
}

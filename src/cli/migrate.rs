//! `audit-relay migrate`: the configuration for a Flipt that used its own webhook sink.
//!
//! Exit codes: 0 all of it was carried over; 1 something is left to do by hand; 2 it cannot be read.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::desk::Failure;
use super::{EXIT_FAILURE, print};
use crate::migrate::{read, written};

/// The longest configuration that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// What `migrate` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct MigrateArgs {
    /// The configuration of Flipt v1, in YAML; `-` reads it from standard input
    flipt_config: PathBuf,
    /// A file of `NAME=VALUE` lines: variables `FLIPT_…` count before the configuration, as with Flipt
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

pub(super) fn run(args: &MigrateArgs) -> ExitCode {
    migrate(args).unwrap_or_else(|failure| failure.tell())
}

fn migrate(args: &MigrateArgs) -> Result<ExitCode, Failure> {
    let text = text_of(&args.flipt_config)?;
    let variables = match &args.env_file {
        Some(path) => variables(&text_of(path)?),
        None => Vec::new(),
    };
    let flipt = read(&text, &variables)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.flipt_config.display())))?;
    let written = written(&flipt);
    print(&written.yaml);
    for what in &written.by_hand {
        eprintln!("by hand: {what}");
    }
    Ok(if written.by_hand.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match path == Path::new("-") {
        true => std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)),
    };
    read.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    Ok(text)
}

/// `NAME=VALUE`, `export NAME="VALUE"`; empty lines and comments are passed over.
fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='));
    let bare = |value: &str| {
        let value = value.trim();
        let inner = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        inner.unwrap_or(value).to_owned()
    };
    pairs.map(|(name, value)| (name.trim().to_owned(), bare(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_shells_write_them() {
        let read = variables("# no\nA=1\n\nexport B=\"two words\"\nC = '3'\nnothing\nD=a=b\n");
        let expected = [("A", "1"), ("B", "two words"), ("C", "3"), ("D", "a=b")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}

//! `audit-relay verify`: whether a journal, a copy of one or an export still is what was accepted.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{ConfigArgs, EXIT_FAILURE, EXIT_USAGE, print, print_json};
use crate::admin::exported;
use crate::admin::words::{self, count};
use crate::event::{Sequence, Timestamp};
use crate::journal::DATABASE;
use crate::journal::verify::export::export;
use crate::journal::verify::{Link, Misfit, Verified, VerifyError, journal};

/// How every file of SQLite begins (sqlite.org/fileformat.html, 1.3).
const SQLITE: &[u8] = b"SQLite format 3\0";

/// What `verify` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct VerifyArgs {
    /// A journal, a backup of one, or what `changes --format ndjson --with-chain` printed (`-`: standard input)
    /// [default: the journal of the configuration, whether or not a relay runs]
    file: Option<PathBuf>,
    /// A place in the chain that was noted elsewhere before, as this command prints it: whoever can write the whole
    /// journal can write a whole new chain, or cut off its end, and nothing in it would tell
    #[arg(long, value_name = "SEQUENCE:LINK")]
    expect: Vec<Link>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: &VerifyArgs) -> ExitCode {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => match args.config.plan() {
            Ok(plan) => plan.data_dir.join(DATABASE),
            Err(problems) => {
                eprintln!("{problems}");
                return ExitCode::from(EXIT_USAGE);
            }
        },
    };
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let found = verify(&file, &args.expect);
    if args.json {
        print_json(&Outcome::of(&name, &found));
    }
    match found {
        Ok(verified) => {
            if !args.json {
                print(&told(&name, &verified));
            }
            // What somebody wanted to know cannot be told.
            if verified.not_compared.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) }
        }
        Err(VerifyError::Misfit(misfit)) => {
            if !args.json {
                print(&format!(
                    "{name} is NOT what was accepted\n{}\n",
                    words::escaped(&misfit_told(&misfit))
                ));
            }
            ExitCode::from(EXIT_FAILURE)
        }
        Err(VerifyError::Unreadable(why)) => {
            eprintln!("{name} cannot be judged: {}", words::escaped(&why));
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn verify(file: &Path, expected: &[Link]) -> Result<Verified, VerifyError> {
    let unreadable = |error: std::io::Error| VerifyError::Unreadable(error.to_string());
    if file == Path::new("-") {
        return export(std::io::stdin().lock(), expected, exported);
    }
    let mut opened = File::open(file).map_err(unreadable)?;
    let mut head = Vec::new();
    opened.by_ref().take(SQLITE.len() as u64).read_to_end(&mut head).map_err(unreadable)?;
    if head == SQLITE {
        drop(opened);
        return journal(file, expected);
    }
    let begun = std::io::Cursor::new(head);
    export(BufReader::with_capacity(1 << 20, begun.chain(opened)), expected, exported)
}

/// What fits, in words.
fn told(name: &str, verified: &Verified) -> String {
    let mut text = format!("{name} is what was accepted\n");
    let range = match (verified.first, verified.last) {
        (Some(first), Some(last)) => format!(", {first} to {}", last.sequence),
        _ => String::new(),
    };
    text.push_str(&format!(
        "{}{range}: each digest and every link fits\n",
        count(verified.records, "record")
    ));
    if verified.places > 0 {
        let places = count(verified.places, "record");
        text.push_str(&format!("{places} of these left out of the export: known by digest and link alone\n"));
    }
    if verified.removed_through > 0 {
        text.push_str(&format!(
            "what came before, up to {}, was removed as `journal.keep` says",
            verified.removed_through
        ));
        text.push_str("; the link that was kept of it fits\n");
    }
    if verified.kept_from_before > 0 {
        let kept = count(verified.kept_from_before, "record");
        text.push_str(&format!(
            "not judged by the chain: {kept} from before, which something still needs; digests fit\n"
        ));
    }
    if verified.lost > 0 {
        let lost = count(verified.lost, "record");
        text.push_str(&format!("{lost} lost with a damaged journal: a gap record tells of it\n"));
    }
    if !verified.compared.is_empty() {
        text.push_str(&format!("as expected: {}\n", list(&verified.compared)));
    }
    if !verified.not_compared.is_empty() {
        text.push_str(&format!(
            "CANNOT BE JUDGED: expected, and removed or not in here: {}\n",
            list(&verified.not_compared)
        ));
    }
    if let Some(last) = verified.last {
        text.push_str(&format!("note this where nobody who writes the journal can: {last}\n"));
    }
    text
}

fn list(sequences: &[Sequence]) -> String {
    sequences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn misfit_told(misfit: &Misfit) -> String {
    let mut words = match misfit.sequence {
        0 => String::new(),
        sequence => format!("record {sequence}"),
    };
    if let Some(id) = &misfit.id {
        words.push_str(&format!(" ({id})"));
    }
    if let Some(at) = misfit.accepted_at {
        words.push_str(&format!(", accepted {at}"));
    }
    if let Some(line) = misfit.line {
        words.push_str(&format!(", line {line}"));
    }
    let separator = if words.is_empty() { "" } else { ": " };
    format!("{}{separator}{}", words.trim_start_matches(", "), misfit.why)
}

/// The same as JSON.
#[derive(Serialize)]
struct Outcome<'a> {
    file: &'a str,
    /// `null` where it could not be judged.
    is_what_was_accepted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    places: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Sequence>,
    /// To be noted elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed_through: Option<Sequence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<&'a [Sequence]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_compared: Option<&'a [Sequence]>,
    /// The first record that does not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    misfit: Option<MisfitView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct MisfitView<'a> {
    sequence: Option<Sequence>,
    id: Option<&'a str>,
    accepted_at: Option<Timestamp>,
    line: Option<u64>,
    why: &'a str,
}

impl<'a> Outcome<'a> {
    fn of(file: &'a str, found: &'a Result<Verified, VerifyError>) -> Self {
        let verified = found.as_ref().ok();
        let (misfit, error) = match found {
            Ok(_) => (None, None),
            Err(VerifyError::Misfit(misfit)) => (Some(&**misfit), None),
            Err(VerifyError::Unreadable(why)) => (None, Some(why.as_str())),
        };
        Self {
            file,
            is_what_was_accepted: if error.is_some() { None } else { Some(misfit.is_none()) },
            records: verified.map(|found| found.records),
            places: verified.map(|found| found.places),
            first: verified.and_then(|found| found.first),
            last: verified.and_then(|found| found.last).map(|last| last.to_string()),
            removed_through: verified.map(|found| found.removed_through),
            lost: verified.map(|found| found.lost),
            compared: verified.map(|found| &*found.compared),
            not_compared: verified.map(|found| &*found.not_compared),
            misfit: misfit.map(|misfit| MisfitView {
                sequence: Some(misfit.sequence).filter(|sequence| *sequence > 0),
                id: misfit.id.as_deref(),
                accepted_at: misfit.accepted_at,
                line: misfit.line,
                why: &misfit.why,
            }),
            error,
        }
    }
}

//! The same of a period that was exported: `changes --format ndjson --with-chain`, one record or place a line.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{BufRead, Read as _};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Sealed;
use super::super::chain::{self, ORIGIN};
use super::{Link, Misfit, Verified, VerifyError};
use crate::event::StoredRecord;

/// A line longer than this is none of an export: a record of 4 MiB stands in it a few times, escaped.
const MAX_LINE_BYTES: u64 = 256 << 20;

/// What an export shows that acceptance did not fix: names that records refer to, what was known around an event, and
/// words about it. Of `change`, `after` is the event's own.
pub const UNSEALED: [&str; 7] =
    ["journal", "source", "instance", "environment", "change", "summary", "change_set"];

/// What an export must show, as acceptance fixed it.
const SEALED: [&str; 10] =
    ["spec", "id", "type", "timestamp", "received_at", "sequence", "namespace", "entity", "actor", "data"];

#[derive(Deserialize)]
struct Chained {
    chain: Sealed,
}

/// The fields of a line, each as it is written.
type Fields = BTreeMap<String, Box<RawValue>>;

/// Reads an export line by line. `shown` is how a record looks in one, but for its chain.
///
/// # Errors
/// [`VerifyError::Misfit`] for the first record that does not fit; otherwise why it cannot be judged.
pub fn export(
    mut input: impl BufRead,
    expected: &[Link],
    shown: impl Fn(StoredRecord) -> String,
) -> Result<Verified, VerifyError> {
    let mut walk = Walk { found: Verified::default(), expected, is_linked: false };
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let length = input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if length.map_err(|error| unreadable(number, &error))? == 0 {
            break;
        }
        let text = std::str::from_utf8(&line).map_err(|error| unreadable(number, &error))?;
        let wrong = |misfit: Box<Misfit>| Box::new(Misfit { line: Some(number), ..*misfit });
        match serde_json::from_str::<Chained>(text) {
            Ok(chained) => walk.judge(&chained.chain, text, &shown).map_err(wrong)?,
            Err(error) if number == 1 => return Err(unreadable(number, &error)),
            Err(error) => {
                let after = walk.found.last.map_or(0, |last| last.sequence);
                let why = format!("altered: the chain of the line behind {after} cannot be read ({error})");
                return Err(wrong(Misfit::at(after + 1, why)).into());
            }
        }
    }
    walk.conclude()
}

fn unreadable(line: u64, why: &dyn Display) -> VerifyError {
    VerifyError::Unreadable(format!(
        "line {line} is none of `changes --format ndjson --with-chain`, and it is no journal either: {why}"
    ))
}

struct Walk<'a> {
    found: Verified,
    expected: &'a [Link],
    /// Whether a record has come that tells what it follows: before that each stands alone.
    is_linked: bool,
}

impl Walk<'_> {
    fn judge(
        &mut self,
        sealed: &Sealed,
        text: &str,
        shown: impl Fn(StoredRecord) -> String,
    ) -> Result<(), Box<Misfit>> {
        let sequence = sealed.sequence;
        let stored = sealed.record.as_ref().and_then(|columns| columns.record(sequence));
        let told = stored.as_ref().map(|record| (record.id.to_string(), record.accepted_at));
        let misfit = |why: String| {
            let (id, accepted_at) = told.clone().unzip();
            Box::new(Misfit { id, accepted_at, ..*Misfit::at(sequence, why) })
        };
        self.follows(sealed).map_err(misfit)?;
        let digest = sealed.record.as_ref().map(|columns| columns.digest(sequence));
        if digest.is_some_and(|digest| digest != sealed.digest) {
            return Err(misfit("altered: its digest is not that of what was accepted".to_owned()));
        }
        match (digest, stored) {
            (None, _) => {
                if fields(text).map_err(misfit)?.len() != 1 {
                    return Err(misfit("altered: what its digest is made of was taken out".to_owned()));
                }
                self.found.places += 1;
            }
            (Some(_), None) => return Err(misfit("altered: no relay accepts such a record".to_owned())),
            (Some(_), Some(record)) => {
                if let Some(field) = first_difference(text, &shown(record)).map_err(misfit)? {
                    return Err(misfit(format!("altered: `{field}` is not what was accepted")));
                }
            }
        }
        let link = Link { sequence, link: sealed.link };
        self.found.compare(self.expected, link).map_err(misfit)?;
        self.found.first.get_or_insert(sequence);
        self.found.last = Some(link);
        self.found.records += 1;
        Ok(())
    }

    /// Why a place does not follow the last one.
    fn follows(&mut self, sealed: &Sealed) -> Result<(), String> {
        if let Some(last) = self.found.last {
            let next = last.sequence + 1;
            if sealed.sequence < next {
                return Err(format!("out of order: it stands behind {}", last.sequence));
            }
            if self.is_linked && sealed.sequence > next {
                return Err(format!("missing: {next} should stand before it"));
            }
            if self.is_linked && sealed.previous != Some(last.link) {
                return Err(
                    "inserted, moved, or put in the place of another: it does not follow the one before"
                        .into(),
                );
            }
        }
        let Some(previous) = sealed.previous else {
            self.found.kept_from_before += 1;
            return Ok(());
        };
        self.is_linked = true;
        if sealed.sequence == 1 && previous != ORIGIN {
            return Err("altered: the first record follows none".to_owned());
        }
        if chain::link(&previous, &sealed.digest) != sealed.link {
            return Err("altered: its link is not made of the one before and its digest".to_owned());
        }
        Ok(())
    }

    fn conclude(mut self) -> Result<Verified, VerifyError> {
        let Some((first, last)) = self.found.first.zip(self.found.last) else {
            return Err(VerifyError::Unreadable("it holds no record".to_owned()));
        };
        for wanted in self.expected {
            if self.found.compared.contains(&wanted.sequence) {
                continue;
            }
            if wanted.sequence > last.sequence {
                let why = format!("missing: it was expected, and the export ends at {}", last.sequence);
                return Err(Misfit::at(wanted.sequence, why).into());
            }
            if self.is_linked && self.found.kept_from_before == 0 && wanted.sequence >= first {
                return Err(Misfit::at(wanted.sequence, "missing: it was expected").into());
            }
            self.found.not_compared.push(wanted.sequence);
        }
        // Whoever writes an export can make such a record.
        if self.found.kept_from_before > 0 {
            return Err(VerifyError::Unreadable(format!(
                "{} at its beginning do not say what they follow: they were kept though those around them were removed, \
                 or are made up; all others fit",
                self.found.kept_from_before
            )));
        }
        Ok(self.found)
    }
}

/// The first field that is not as it has to be.
fn first_difference(text: &str, right: &str) -> Result<Option<String>, String> {
    let (mut written, right) = (fields(text)?, fields(right)?);
    written.remove("chain");
    for (name, value) in &right {
        let found = written.remove(name);
        let fits = match &found {
            // An older release may not have told it.
            None => !SEALED.contains(&name.as_str()),
            Some(found) if name == "change" => after(found)? == after(value)?,
            Some(found) => UNSEALED.contains(&name.as_str()) || found.get() == value.get(),
        };
        if !fits {
            return Ok(Some(name.clone()));
        }
    }
    Ok(written.into_keys().find(|name| !UNSEALED.contains(&name.as_str())))
}

fn after(change: &RawValue) -> Result<Option<String>, String> {
    let change: Option<Fields> =
        serde_json::from_str(change.get()).map_err(|error| format!("altered: {error}"))?;
    Ok(change.and_then(|mut change| change.remove("after")).map(|after| after.get().to_owned()))
}

/// The fields of a line; none stands there twice, since readers do not agree on what that means.
fn fields(text: &str) -> Result<Fields, String> {
    struct Visitor;

    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Fields;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
            let mut fields = Fields::new();
            while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                if fields.insert(name.clone(), value).is_some() {
                    return Err(serde::de::Error::custom(format!("`{name}` stands there twice")));
                }
            }
            Ok(fields)
        }
    }

    let mut reader = serde_json::Deserializer::from_str(text);
    serde::Deserializer::deserialize_map(&mut reader, Visitor).map_err(|error| format!("altered: {error}"))
}

//! What is wrong with a configuration, where, and what was expected.

use std::fmt;
use std::path::{Path, PathBuf};

use super::yaml::Mark;
use crate::event::text::escaped;

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Nowhere in particular: the configuration as a whole.
    Whole,
    /// In a file.
    File {
        /// Its path, as it was given.
        path: PathBuf,
        /// The line, from 1; 0 where the file as a whole is meant.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
    /// In this environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("configuration"),
            Self::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// One problem. None of its parts ever holds a value that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is written.
    pub place: Place,
    /// The path of the key, such as `destinations.siem.url`; empty for a file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub expected: Option<String>,
    /// The nearest right name.
    pub nearest: Option<String>,
    /// Where it stands before the file's name is known.
    pub(super) mark: Option<Mark>,
}

impl Problem {
    /// A problem at a known mark of a file whose name is filled in at the end.
    pub(super) fn at(mark: Mark, key: &str, message: &str, expected: Option<&str>) -> Self {
        Self { mark: Some(mark), ..Self::whole(key, message, expected) }
    }

    /// A problem of the configuration as a whole.
    pub(super) fn whole(key: &str, message: &str, expected: Option<&str>) -> Self {
        Self {
            place: Place::Whole,
            key: key.to_owned(),
            message: message.to_owned(),
            expected: expected.map(str::to_owned),
            nearest: None,
            mark: None,
        }
    }

    /// Turns its mark into the name of a file with line and column.
    pub(super) fn settle(&mut self, files: &[PathBuf]) {
        if let Some(mark) = self.mark {
            let path = files.get(mark.file).cloned().unwrap_or_default();
            self.place = Place::File { path, line: mark.line, column: mark.column };
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = format!("{}: ", self.place);
        if !self.key.is_empty() {
            line += &format!("{}: ", self.key);
        }
        line += &self.message;
        if let Some(expected) = &self.expected {
            line += &format!("; expected {expected}");
        }
        if let Some(nearest) = &self.nearest {
            line += &format!("; did you mean {nearest}?");
        }
        // Names of files, keys and variables are other people's: they may hold anything.
        f.write_str(&escaped(&line))
    }
}

/// Every problem of a configuration, in the order of its files and lines; one a line when displayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl Problems {
    /// Fills in file names, sorts and removes repetitions.
    pub(super) fn settled(mut problems: Vec<Problem>, files: &[PathBuf]) -> Self {
        for problem in &mut problems {
            problem.settle(files);
        }
        problems.sort_by(|a, b| (&a.mark, &a.place, &a.key).cmp(&(&b.mark, &b.place, &b.key)));
        problems.dedup();
        Self(problems)
    }

    /// One problem with a file as a whole.
    pub(super) fn file(path: &Path, message: &str) -> Problem {
        let place = Place::File { path: path.to_owned(), line: 0, column: 0 };
        Problem { place, ..Problem::whole("", message, None) }
    }
}

/// The candidate that was most likely meant by `written`, if any is near enough.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let limit = (written.chars().count() / 3).clamp(1, 3);
    let contains = |candidate: &str| {
        written.len() >= 4
            && candidate.len() >= 4
            && (candidate.contains(&written) || written.contains(candidate))
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&written, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit || contains(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

//! Where the audit JSON is inside a line.
//!
//! Flipt's log sink writes bare objects to a file, and to standard output either
//! `{"T":…,"M":"AUDIT",…}` or `time<TAB>AUDIT<TAB>{…}` between the lines of Flipt's own log
//! (`internal/server/audit/log/log.go` of Flipt v1.44 to v1.61). Container runtimes wrap each of these
//! once more.

use std::borrow::Cow;

use crate::event::Framing;

/// One line of a container log: `time stream tags content`.
///
/// The form is that of the CRI logging design, as the kubelet reads it (`pkg/kubelet/kuberuntime/logs`
/// of Kubernetes): single spaces, tags separated by `:`, of which the first is `P` for a partial line and
/// `F` for a full one or the end of partial ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CriLine<'a> {
    /// `stdout` or `stderr`. Partial lines of different streams interleave: join each stream on its own.
    pub stream: &'a [u8],
    /// Whether the next line of the same stream continues this one.
    pub partial: bool,
    /// What the container wrote.
    pub content: &'a [u8],
}

impl<'a> CriLine<'a> {
    /// Reads one line (without its newline); `None` if it has no such prefix.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (time, stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
        let begins_like_a_time =
            time.len() >= 20 && time[..4].iter().all(u8::is_ascii_digit) && time[4] == b'-';
        if !begins_like_a_time || !matches!(stream, b"stdout" | b"stderr") {
            return None;
        }
        let partial = match tags.split(|byte| *byte == b':').next()? {
            b"P" => true,
            b"F" => false,
            _ => return None,
        };
        Some(Self { stream, partial, content: parts.next().unwrap_or_default() })
    }
}

/// Why a line could not be unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// `framing: cri`, and the prefix is missing.
    #[error("not a line of a container log (line {line} of the record lacks \"time stream F\")")]
    NoCriPrefix {
        /// Counted from 1 among the joined lines.
        line: usize,
    },
    /// `framing: cri`, and a partial line is the last one.
    #[error("the container runtime began this line and never finished it")]
    Unfinished,
    /// The line is nothing that holds an audit event.
    #[error("neither JSON nor a line of Flipt's log")]
    NoJson,
    /// The line is blank, or Flipt's application log.
    #[error("a line of Flipt's application log, not of its audit log")]
    NoAuditLine,
}

/// What a line is, as far as its wrapping tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// What claims to be a JSON object (it may still be one of the application log's).
    Json(&'a [u8]),
    /// Nothing.
    Blank,
    /// The console form of Flipt's application log.
    Application,
    /// Anything else.
    Other,
}

/// Looks where the JSON of a line is, without reading it.
#[must_use]
pub fn find(line: &[u8]) -> Found<'_> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Found::Blank;
    }
    if line[0] == b'{' {
        return Found::Json(line);
    }
    let mut fields = line.splitn(3, |byte| *byte == b'\t');
    let (first, second, rest) = (fields.next().unwrap_or_default(), fields.next(), fields.next());
    match (second, rest) {
        // A level in the first place: the time key was switched off in Flipt's `log.keys`.
        (Some(_), _) if is_console_level(first) => Found::Application,
        (Some(b"AUDIT"), Some(json)) => Found::Json(json.trim_ascii()),
        (Some(level), _) if is_console_level(level) => Found::Application,
        _ => Found::Other,
    }
}

/// The audit JSON inside the `original` of a record.
///
/// With [`Framing::Cri`] it may be several raw lines joined by newlines, partial ones and the one that ends
/// them; their contents are concatenated. No character is checked and no JSON is read.
///
/// # Errors
/// If the bytes are not wrapped as `framing` says, or wrap nothing that could be an audit event.
pub fn unwrap(original: &[u8], framing: Framing) -> Result<Cow<'_, [u8]>, FramingError> {
    match strip_container_prefix(original, framing)? {
        Cow::Borrowed(line) => json_of(line).map(Cow::Borrowed),
        Cow::Owned(line) => json_of(&line).map(|json| Cow::Owned(json.to_vec())),
    }
}

fn json_of(line: &[u8]) -> Result<&[u8], FramingError> {
    match find(line) {
        Found::Json(json) => Ok(json),
        Found::Blank | Found::Application => Err(FramingError::NoAuditLine),
        Found::Other => Err(FramingError::NoJson),
    }
}

/// The line as Flipt wrote it.
pub(super) fn strip_container_prefix(
    original: &[u8],
    framing: Framing,
) -> Result<Cow<'_, [u8]>, FramingError> {
    if framing == Framing::Auto {
        return Ok(Cow::Borrowed(original));
    }
    let mut joined = Cow::Borrowed(&original[..0]);
    let mut partial = false;
    for (index, line) in original.split(|byte| *byte == b'\n').enumerate() {
        let line = CriLine::parse(line).ok_or(FramingError::NoCriPrefix { line: index + 1 })?;
        partial = line.partial;
        if joined.is_empty() {
            joined = Cow::Borrowed(line.content);
        } else {
            joined.to_mut().extend_from_slice(line.content);
        }
    }
    if partial { Err(FramingError::Unfinished) } else { Ok(joined) }
}

/// zap's levels (`go.uber.org/zap/zapcore/level.go`), with or without the colours of its console encoder.
fn is_console_level(field: &[u8]) -> bool {
    let word = match field.strip_prefix(b"\x1b[") {
        Some(coloured) => {
            let Some(end) = coloured.iter().position(|byte| *byte == b'm') else { return false };
            coloured[end + 1..].strip_suffix(b"\x1b[0m").unwrap_or(&coloured[end + 1..])
        }
        None => field,
    };
    is_level(word)
}

pub(super) fn is_level(word: &[u8]) -> bool {
    [&b"DEBUG"[..], b"INFO", b"WARN", b"ERROR", b"DPANIC", b"PANIC", b"FATAL"]
        .iter()
        .any(|level| word.eq_ignore_ascii_case(level))
}

//! References: values that stand in the environment or in files.

use std::path::{Path, PathBuf};

/// What to do with `{env: NAME}` and `{file: PATH}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum References {
    /// Resolve them; one that is missing stops its destination alone (`run`).
    Resolve,
    /// Resolve them; one that is missing is a problem (`check`).
    Require,
    /// Do not look: their values count as right (`check --no-environment`).
    Ignore,
}

/// Where a value stands.
pub(super) enum Reference {
    Env(String),
    File(PathBuf),
}

/// More than this is no secret and no setting.
const MAX_LENGTH: u64 = 1 << 20;

impl Reference {
    /// Its value; the error says what is missing, by name alone.
    pub(super) fn value(&self, environment: &[(String, String)]) -> Result<String, String> {
        match self {
            Self::Env(name) => environment
                .iter()
                .find(|(variable, _)| variable == name)
                .map(|(_, text)| text.clone())
                .ok_or_else(|| format!("the environment variable `{name}` is not set")),
            Self::File(path) => read(path),
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        return Err(format!("`{}` is not a file", path.display()));
    }
    if metadata.len() > MAX_LENGTH {
        return Err(format!("the file `{}` is larger than 1 MiB", path.display()));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    let mut text =
        String::from_utf8(bytes).map_err(|_| format!("the file `{}` is not UTF-8", path.display()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => "is not readable for this user".to_owned(),
        kind => format!("cannot be read ({kind})"),
    };
    format!("the file `{}` {why}", path.display())
}

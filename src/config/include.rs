//! Further files: routes, owners and tests that people keep beside the configuration.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::problem::{Problem, Problems, nearest};
use super::yaml::{self, Content, Mark, Node, shown};

/// What an included file may hold.
const SECTIONS: [&str; 3] = ["routes", "owners", "tests"];

/// Reads the files that `patterns` name, relative to the configuration `root` was read from, into `root`.
pub(super) fn include(
    patterns: &[(String, Option<Mark>)],
    root: &mut Node,
    files: &mut Vec<PathBuf>,
    digest: &mut Sha256,
    problems: &mut Vec<Problem>,
) {
    let directory = files.first().and_then(|path| path.parent()).map(Path::to_owned).unwrap_or_default();
    for (pattern, mark) in patterns {
        let refusal = |message: &str, expected| match mark {
            Some(mark) => Problem::at(*mark, "include", message, expected),
            None => Problem::whole("include", message, expected),
        };
        let full = directory.join(pattern);
        let is_glob = pattern.contains(['*', '?', '[']);
        // A glob that cannot be read is told by the walk.
        let Ok(found) = glob::glob(&full.to_string_lossy()) else { continue };
        let paths: Vec<PathBuf> = found.filter_map(Result::ok).filter(|path| path.is_file()).collect();
        if paths.is_empty() && !is_glob {
            problems.push(refusal(NO_SUCH_FILE, Some("a file beside the configuration, or a glob")));
        }
        for path in paths {
            if files.contains(&path) {
                problems.push(refusal("a file is included twice, or is the configuration itself", None));
                continue;
            }
            let file = files.len();
            files.push(path.clone());
            match read(&path) {
                Ok(text) => {
                    add(digest, &text);
                    if let Some(node) = yaml::parse(&text, file, problems) {
                        take(node, root, files, problems);
                    }
                }
                Err(why) => problems.push(Problems::file(&path, &why)),
            }
        }
    }
}

/// Adds a file's text to the digest of a configuration.
pub(super) fn add(digest: &mut Sha256, text: &str) {
    digest.update(text);
}

/// What is said of a file that is not there.
pub(super) const NO_SUCH_FILE: &str = "no such file";

/// The text of a configuration file; the error says what is wrong with the file.
pub(super) fn read(path: &Path) -> Result<String, String> {
    const MAX_LENGTH: u64 = 4 << 20;
    let metadata = std::fs::metadata(path).map_err(|error| reason(&error))?;
    if metadata.is_dir() {
        return Err("this is a directory; expected a file".into());
    }
    // Of a pipe nobody knows whether anything ever comes; those of shells (`<(…)`, `-c /dev/stdin`) are meant.
    if !metadata.is_file() && !path.starts_with("/dev") {
        return Err("this is no regular file".into());
    }
    if metadata.len() > MAX_LENGTH {
        return Err("larger than 4 MiB".into());
    }
    let bytes = std::fs::read(path).map_err(|error| reason(&error))?;
    String::from_utf8(bytes).map_err(|_| "not UTF-8 text".into())
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => NO_SUCH_FILE.into(),
        std::io::ErrorKind::PermissionDenied => "not readable for this user".into(),
        kind => format!("cannot be read ({kind})"),
    }
}

fn take(node: Node, root: &mut Node, files: &[PathBuf], problems: &mut Vec<Problem>) {
    let entries = match node.content {
        Content::Map(entries) => entries,
        Content::Null => return,
        _ => {
            problems.push(Problem::at(
                node.mark,
                "",
                "an included file is not a map",
                Some("`routes`, `owners` or `tests`"),
            ));
            return;
        }
    };
    let Content::Map(sections) = &mut root.content else { return };
    for (section, node) in entries {
        if !SECTIONS.contains(&section.as_str()) {
            let near = nearest(&section, SECTIONS);
            let mut problem = Problem::at(
                node.key_mark(),
                &shown(&section),
                "not a key of an included file",
                Some("`routes`, `owners` or `tests`"),
            );
            problem.nearest = near.map(|name| format!("`{name}`"));
            problems.push(problem);
            continue;
        }
        match sections.iter_mut().find(|(key, node)| *key == section && !node.is_null()) {
            None => {
                sections.retain(|(key, _)| *key != section);
                sections.push((section, node));
            }
            Some((_, present)) => match (&mut present.content, node.content) {
                (Content::Map(routes), Content::Map(more)) => {
                    for (name, node) in more {
                        match routes.iter().find(|(present, _)| *present == name) {
                            Some((_, first)) => {
                                let at = first.key_mark();
                                let file = files.get(at.file).map(|path| path.display().to_string());
                                let key = format!("{section}.{}", shown(&name));
                                let message =
                                    format!("already defined in {}:{}", file.unwrap_or_default(), at.line);
                                problems.push(Problem::at(
                                    node.key_mark(),
                                    &key,
                                    &message,
                                    Some("each name once"),
                                ));
                            }
                            None => routes.push((name, node)),
                        }
                    }
                }
                (Content::List(items), Content::List(more)) => items.extend(more),
                (_, Content::Null) => {}
                (_, _) => problems.push(Problem::at(
                    node.mark,
                    &section,
                    "not of the same type as in the configuration",
                    None,
                )),
            },
        }
    }
}

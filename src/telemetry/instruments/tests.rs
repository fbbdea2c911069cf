use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;

#[test]
fn names_are_as_prometheus_wants_them() {
    let mut seen = BTreeSet::new();
    for instrument in ALL {
        let name = instrument.name;
        assert!(seen.insert(name), "{name} is there twice");
        assert!(name.starts_with("audit_relay_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        for suffix in ["_total", "_count", "_sum", "_bucket", "_info_total"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
        for other in ["_ms", "_millis", "_kib", "_minutes", "_age"] {
            assert!(!name.contains(other), "{name} is not in base units");
        }
        assert!(instrument.help.ends_with('.') && !instrument.help.contains('\n'), "{name}");
        assert!(instrument.hint.contains(instrument.name), "{name}: the hint is about something else");
        for label in instrument.labels {
            let bounded =
                ["source", "destination", "state", "outcome", "code", "severity", "version", "sha256"];
            assert!(bounded.contains(label), "{name}: {label}");
        }
    }
}

/// `docs/metrics.md`.
fn reference() -> String {
    let mut text = include_str!("reference.md").to_owned();
    for (title, prefix) in GROUPS {
        writeln!(text, "\n## {title}").unwrap();
        for instrument in ALL.iter().filter(|instrument| group(instrument.name) == prefix) {
            let labels = match instrument.labels {
                [] => String::new(),
                labels => format!(", by `{}`", labels.join("`, `")),
            };
            let (series, kind) = (instrument.series(), instrument.kind.as_str());
            writeln!(text, "\n**`{series}`** ({kind}{labels}). {}\n", instrument.help).unwrap();
            writeln!(text, "```promql\n{}\n```", instrument.hint).unwrap();
        }
    }
    text
}

const GROUPS: [(&str, &str); 5] = [
    ("The relay", "audit_relay_"),
    ("Sources", "audit_relay_source_"),
    ("The journal", "audit_relay_journal_"),
    ("Destinations", "audit_relay_destination_"),
    ("The process", "process_"),
];

fn group(name: &str) -> &'static str {
    let prefixes = GROUPS.iter().map(|(_, prefix)| *prefix).filter(|prefix| name.starts_with(prefix));
    prefixes.max_by_key(|prefix| prefix.len()).unwrap()
}

/// `UPDATE_GOLDEN=1` writes the file anew; read it before you commit it.
#[test]
fn the_reference_in_docs_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == reference(),
        "docs/metrics.md is not what the list says: write it anew with UPDATE_GOLDEN=1"
    );
}

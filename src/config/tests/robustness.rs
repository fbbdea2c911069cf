//! Whatever stands in the file: an answer, never a panic.
use proptest::prelude::*;

use super::*;

fn fragments() -> impl Strategy<Value = String> {
    let words = [
        "sources",
        "flipt",
        "type",
        "file",
        "path",
        "destinations",
        "routes",
        "to",
        "when",
        "webhook",
        "url",
        "env",
        "include",
        "log",
        "level",
        "batch",
        "max_events",
        "signing",
        "scheme",
        "secrets",
        "headers",
        ": ",
        ":\n  ",
        "\n",
        "\n  ",
        "\n    - ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "&a ",
        "*a",
        "<<",
        "!t ",
        "~",
        "-1",
        "1e400",
        "0x",
        "true",
        "🦀",
        "\t",
        "---\n",
        "|\n",
        "%",
        "#",
        "never",
        "5s",
        "https://a/?b",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
}

/// A right configuration with one piece cut out or put in.
fn damaged() -> impl Strategy<Value = String> {
    let text = std::fs::read_to_string(repository("config/example.yaml")).unwrap();
    let length = text.chars().count();
    (0..length, 0..40_usize, fragments()).prop_map(move |(at, cut, put)| {
        let before: String = text.chars().take(at).collect();
        let after: String = text.chars().skip(at + cut).collect();
        format!("{before}{}{after}", put.chars().take(12).collect::<String>())
    })
}

fn survives(text: &str) {
    let mut desk = Desk::new().variable("AUDIT_RELAY__LOG__LEVEL", "{a=[1,");
    desk.references = References::Ignore;
    if let Err(problems) = desk.load(text) {
        assert!(!problems.0.is_empty());
        assert!(!problems.to_string().contains("cannot say why"), "{text}");
    }
    let salvaged = salvage(&desk.options(text), Watched::default()).plan;
    assert!(salvaged.is_salvaged && salvaged.destinations.values().all(|destination| destination.is_held));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn pieces_of_configurations(text in fragments()) {
        survives(&text);
    }

    #[test]
    fn a_source_outlives_what_stands_beside_it(text in fragments()) {
        let desk = Desk::new();
        let text = format!("data_dir: /data\n{SOURCES}destinations:\n  {text}");
        let salvaged = salvage(&desk.options(&text), Watched::default()).plan;
        prop_assert!(salvaged.sources.contains_key("flipt"), "{}", text);
    }

    #[test]
    fn damaged_configurations(text in damaged()) {
        survives(&text);
    }
}

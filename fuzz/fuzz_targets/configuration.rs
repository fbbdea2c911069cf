//! Whatever stands in a configuration and in the environment (after a NUL, one variable a line): it means the same
//! each time, or every problem names a place that is there; and a sidecar makes something of it.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use audit_relay::config::{Place, Watched, load, load_noting, salvage};
use audit_relay_fuzz::{options, scratch};
use libfuzzer_sys::fuzz_target;

static PATH: LazyLock<PathBuf> = LazyLock::new(|| scratch("fuzzed.yaml"));

fuzz_target!(|bytes: &[u8]| {
    let (text, environment) = match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], String::from_utf8_lossy(&bytes[at + 1..])),
        None => (bytes, "".into()),
    };
    // Of includes, those of other files would be read: what stands there is not ours to judge.
    if text.windows(7).any(|window| window == b"include") {
        return;
    }
    std::fs::write(&*PATH, text).expect("the configuration is written");
    let mut options = options(PATH.clone());
    options.environment = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (format!("AUDIT_RELAY__{name}"), value.to_owned()))
        .collect();
    let mut noted = Watched::default();
    match load_noting(&options, &mut noted) {
        Ok(loaded) => {
            let again = load(&options).expect("it loads again");
            assert_eq!(format!("{:?}", again.plan), format!("{:?}", loaded.plan));
        }
        Err(problems) => {
            // YAML ends a line with a carriage return, too (YAML 1.2.2, section 5.4).
            let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                assert!(!problem.message.is_empty());
                if let Place::File { path, line, .. } = &problem.place {
                    assert_eq!(path, &*PATH);
                    assert!(*line <= lines, "{problem:?}");
                }
            }
            // One line for each, whatever it quotes.
            assert!(
                !problems.to_string().chars().any(|character| character.is_control() && character != '\n')
            );
            let saved = salvage(&options, noted);
            assert!(saved.plan.destinations.values().all(|destination| destination.is_held));
        }
    }
});

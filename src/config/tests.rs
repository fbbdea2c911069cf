//! The configuration as people meet it: messages, defaults, layers, secrets.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

mod datadog;
mod delivering;
mod instances;
mod intake;
mod language;
mod layering;
mod linking;
mod meaning;
mod messages;
mod otlp;
mod owning;
mod privacy;
mod redacting;
mod relaying;
mod robustness;
mod salvaging;
mod samples;
mod schema;
mod slack;
mod telemetry;
mod telling;

/// A directory with files, and a configuration loaded from it.
struct Desk {
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
    references: References,
    allow_inline_secrets: bool,
}

impl Desk {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
            references: References::Resolve,
            allow_inline_secrets: false,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn options(&self, yaml: &str) -> LoadOptions {
        LoadOptions {
            config: Some(self.write("audit-relay.yaml", yaml)),
            environment: self.environment.clone(),
            references: self.references,
            allow_inline_secrets: self.allow_inline_secrets,
        }
    }

    fn load(&self, yaml: &str) -> Result<Loaded, Problems> {
        load(&self.options(yaml))
    }

    /// The problems of a configuration, without the path of the directory.
    fn problems(&self, yaml: &str) -> String {
        let text = self.load(yaml).map(|loaded| loaded.plan).unwrap_err().to_string();
        text.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

/// What every configuration needs, to be written before the part that is tested.
const SOURCES: &str = "sources: {flipt: {type: file, path: /var/log/flipt/audit.log}}\n";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

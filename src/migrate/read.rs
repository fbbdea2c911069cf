//! Reads a Flipt configuration.

use super::{FliptConfig, Template, Webhook};
use crate::config::secret::Secret;
use crate::config::{Tree, read_tree};
use crate::flipt::go_duration;

/// Why a text is no Flipt configuration to migrate from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotFlipt(String);

/// Reads a Flipt v1 configuration; `variables` (`FLIPT_AUDIT_…`) count before the file, as with Flipt itself.
///
/// # Errors
/// When it is no YAML, or no configuration of Flipt v1.
pub fn read(text: &str, variables: &[(String, String)]) -> Result<FliptConfig, NotFlipt> {
    let tree = read_tree(text).map_err(NotFlipt)?;
    if tree.text("version").is_some_and(|version| version.starts_with('2')) {
        return Err(NotFlipt(
            "this is a configuration of Flipt v2, which writes no audit events: there is nothing to migrate"
                .to_owned(),
        ));
    }
    let source = Source { tree: &tree, variables };
    let events = source.list("audit.events");
    Ok(FliptConfig {
        url: address(&source),
        log_file: source.text("audit.sinks.log.file").filter(|file| !file.is_empty()),
        log: source.yes("audit.sinks.log.enabled"),
        webhook: webhook(&source),
        kafka: source.yes("audit.sinks.kafka.enabled"),
        events,
        authentication_required: source.yes("authentication.required"),
    })
}

fn webhook(source: &Source<'_>) -> Option<Webhook> {
    const SINK: &str = "audit.sinks.webhook";
    let key = |name: &str| format!("{SINK}.{name}");
    let url = source.text(&key("url")).filter(|url| !url.is_empty()).map(Secret::new);
    let templates: Vec<Template> =
        source.tree.items(&key("templates")).into_iter().map(|item| template(&item)).collect();
    if url.is_none() && templates.is_empty() {
        return None;
    }
    Some(Webhook {
        enabled: source.yes(&key("enabled")),
        url,
        signs: source.text(&key("signing_secret")).is_some_and(|secret| !secret.is_empty()),
        max_backoff: source.text(&key("max_backoff_duration")).and_then(|text| go_duration(&text)),
        templates,
    })
}

fn template(item: &Tree) -> Template {
    let headers = item.entries("headers").into_iter();
    Template {
        url: item.text("url").map(Secret::new),
        body: item.text("body").unwrap_or_default(),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), Secret::new(value))).collect(),
    }
}

/// Where Flipt listens (`server`), as seen from beside it.
fn address(source: &Source<'_>) -> String {
    let is_https = source.text("server.protocol").is_some_and(|protocol| protocol == "https");
    let (scheme, key, default) = match is_https {
        true => ("https", "server.https_port", "443"),
        false => ("http", "server.http_port", "8080"),
    };
    let port = source.text(key).filter(|port| port.parse::<u16>().is_ok());
    format!("{scheme}://127.0.0.1:{}", port.as_deref().unwrap_or(default))
}

struct Source<'a> {
    tree: &'a Tree,
    variables: &'a [(String, String)],
}

impl Source<'_> {
    /// `audit.sinks.log.file` is `FLIPT_AUDIT_SINKS_LOG_FILE`, too.
    fn text(&self, path: &str) -> Option<String> {
        let name = format!("FLIPT_{}", path.to_ascii_uppercase().replace('.', "_"));
        let variable = self.variables.iter().rev().find(|(known, _)| *known == name);
        variable.map(|(_, value)| value.clone()).or_else(|| self.tree.text(path))
    }

    fn yes(&self, path: &str) -> bool {
        // What Go's strconv.ParseBool takes for true.
        self.text(path)
            .is_some_and(|text| matches!(text.as_str(), "true" | "True" | "TRUE" | "t" | "T" | "1"))
    }

    /// A list, or a text that is split at whitespace.
    fn list(&self, path: &str) -> Vec<String> {
        if let Some(text) = self.text(path) {
            return text.split_whitespace().map(str::to_owned).collect();
        }
        self.tree.items(path).into_iter().filter_map(|item| item.text("")).collect()
    }
}

//! `audit-relay check`: is the configuration right, and what does it mean?

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::plan::{DestinationKind, DestinationPlan, Plan, SlackAccess, SourceKind, SourcePlan};
use crate::config::{self, LoadOptions, Loaded, Problems, References};
use crate::event::text::one_line;

/// Tells every problem of the configuration at once.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CheckArgs {
    /// The configuration file [default: $AUDIT_RELAY_CONFIG, then /etc/audit-relay/config.yaml].
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Judge the file alone: no secrets, no paths, no network. For CI.
    #[arg(long)]
    pub no_environment: bool,
    /// Accept secrets that are written in place.
    #[arg(long)]
    pub allow_inline_secrets: bool,
    /// Print every key with its default, and check nothing.
    #[arg(long)]
    pub show_defaults: bool,
}

/// The exit status for a configuration with problems.
const PROBLEMS: u8 = 2;

/// Checks: 0 where all is well, 2 where there are problems.
#[must_use]
pub fn run(args: CheckArgs) -> ExitCode {
    if args.show_defaults {
        let _ = std::io::stdout().lock().write_all(config::shown_defaults().as_bytes());
        return ExitCode::SUCCESS;
    }
    let options = LoadOptions {
        references: if args.no_environment { References::Ignore } else { References::Require },
        allow_inline_secrets: args.allow_inline_secrets,
        ..LoadOptions::from_process(args.config)
    };
    match config::load(&options) {
        Ok(loaded) if loaded.failed_tests.is_empty() => {
            let _ = std::io::stdout().lock().write_all(report(&loaded).as_bytes());
            ExitCode::SUCCESS
        }
        Ok(loaded) => refuse(&Problems(loaded.failed_tests)),
        Err(problems) => refuse(&problems),
    }
}

fn refuse(problems: &Problems) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "{problems}\n{}", count(problems.0.len(), "problem"));
    ExitCode::from(PROBLEMS)
}

/// What a right configuration means: a line for each source, destination and route, then what is worth
/// saying about it.
#[must_use]
pub fn report(loaded: &Loaded) -> String {
    let Plan { sources, destinations, routes, .. } = &loaded.plan;
    let mut text = String::new();
    for (name, source) in sources {
        let _ = writeln!(text, "source {name}: {}", source_line(source));
    }
    for (name, destination) in destinations {
        let _ = writeln!(text, "destination {name}: {}", destination_line(destination));
    }
    for route in &routes.routes {
        let _ = writeln!(text, "route {}: to {}", route.name, route.to.join(", "));
    }
    for note in &loaded.notes {
        let _ = writeln!(text, "note: {note}");
    }
    for warning in &loaded.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let mut counts = vec![
        count(sources.len(), "source"),
        count(destinations.len(), "destination"),
        count(routes.routes.len(), "route"),
    ];
    if loaded.tests > 0 {
        counts.push(count(loaded.tests, "test"));
    }
    let _ = writeln!(text, "ok: {}", counts.join(", "));
    text
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn source_line(source: &SourcePlan) -> String {
    match &source.kind {
        SourceKind::File(file) => format!("file {}", file.paths.join(", ")),
        SourceKind::Http(http) => format!("http {}", http.listen),
    }
}

fn destination_line(destination: &DestinationPlan) -> String {
    match &destination.kind {
        Ok(DestinationKind::Webhook(webhook)) => format!("webhook {}", shown_url(webhook.url.expose())),
        Ok(DestinationKind::Console(_)) => "console".into(),
        Ok(DestinationKind::File(file)) => format!("file {}", file.path),
        Ok(DestinationKind::Slack(slack)) => match &slack.access {
            SlackAccess::Webhook(url) => format!("slack {}", shown_url(url.expose())),
            SlackAccess::Bot { channel, .. } => format!("slack {}", one_line(channel, 80)),
        },
        Ok(DestinationKind::Datadog(datadog)) => format!("datadog {}", shown_url(datadog.url.expose())),
        Ok(DestinationKind::Relay(relay)) => format!("relay {}", shown_url(relay.webhook.url.expose())),
        Ok(DestinationKind::Otlp(otlp)) => format!("otlp {}", shown_url(otlp.url.expose())),
        Err(_) => "not started".into(),
    }
}

/// Scheme and host: all of an address that anybody may see.
fn shown_url(url: &str) -> String {
    let host = |url: &url::Url| Some(format!("{}://{}", url.scheme(), url.host_str()?));
    url::Url::parse(url).ok().as_ref().and_then(host).unwrap_or_else(|| "(an address)".into())
}

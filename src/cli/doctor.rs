//! `audit-relay doctor`: what keeps events from coming, or makes them poorer.
//!
//! Exit codes: 0 nothing severe; 1 something severe, or Flipt could not be asked; 2 wrong usage.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::desk::Failure;
use super::{ConfigArgs, EXIT_FAILURE, print, print_json};
use crate::admin::words::age;
use crate::admin::{self, Answer, Command, Finding, findings_text};
use crate::config::plan::{FliptPlan, LogPlan, Plan, SourceKind};
use crate::config::secret::Secret;
use crate::doctor::{Examination, Facts, examine};
use crate::telemetry::logs;

/// The variable with the token.
const TOKEN_VARIABLE: &str = "AUDIT_RELAY_FLIPT_TOKEN";

/// What `doctor` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct DoctorArgs {
    /// The address of Flipt, where the configuration has no `flipt.url`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A file with a token of Flipt; without it $AUDIT_RELAY_FLIPT_TOKEN, then `flipt.token`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Told<'a> {
    flipt: &'a str,
    version: Option<String>,
    answered: &'a [&'static str],
    complete: bool,
    findings: &'a [Finding],
}

pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    look(args).unwrap_or_else(|failure| failure.tell())
}

fn look(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let plan = match args.config.plan() {
        Ok(plan) => plan,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(super::EXIT_USAGE));
        }
    };
    let quiet = LogPlan { level: "error".to_owned(), ..plan.log.clone() };
    logs::init(&quiet).map_err(|error| Failure::usage(error.to_string()))?;
    let flipt = flipt(args, &plan)?;
    let runtime = super::runtime().map_err(|error| Failure::failed(error.to_string()))?;
    let examination = runtime.block_on(async {
        let refusing = refusing(&plan).await;
        examine(&plan, &flipt, |name| {
            refusing.iter().find(|(source, _)| source == name).map_or(0, |(_, n)| *n)
        })
        .await
    });
    runtime.shutdown_background();
    match args.json {
        true => print_json(&Told {
            flipt: &examination.flipt,
            version: examination.facts.as_ref().and_then(|facts| Some(facts.release?.to_string())),
            answered: &examination.answered,
            complete: examination.is_complete,
            findings: &examination.findings,
        }),
        false => print(&text(&examination, &plan, &flipt.instance)),
    }
    let is_severe = examination.findings.iter().any(|finding| finding.severe);
    Ok(if is_severe || !examination.is_complete { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS })
}

/// Whom to ask: by the configuration, and what the command line says instead.
fn flipt(args: &DoctorArgs, plan: &Plan) -> Result<FliptPlan, Failure> {
    let mut flipt = match (&args.url, &plan.flipt) {
        (None, None) => {
            return Err(Failure::usage(
                "which Flipt? Write `flipt: {url: http://127.0.0.1:8080}` in the configuration, or give --url \
                 (a token by `flipt.token`, --token-file or $AUDIT_RELAY_FLIPT_TOKEN)",
            ));
        }
        (None, Some(flipt)) => flipt.clone(),
        // A token is for the address that it stands beside.
        (Some(url), known) => {
            let same = known.as_ref().filter(|known| known.url.expose() == url);
            FliptPlan {
                url: Arc::new(Secret::new(url)),
                token: same.and_then(|known| known.token.clone()),
                external_url: None,
                instance: known.as_ref().map_or_else(|| first_instance(plan), |known| known.instance.clone()),
            }
        }
    };
    if !matches!(url::Url::parse(flipt.url.expose()), Ok(url) if matches!(url.scheme(), "http" | "https")) {
        return Err(Failure::usage("--url: not an address such as http://127.0.0.1:8080"));
    }
    if let Some(token) = token(args)? {
        flipt.token = Some(token);
    }
    Ok(flipt)
}

fn first_instance(plan: &Plan) -> String {
    plan.sources.values().next().map_or_else(|| "flipt".to_owned(), |source| source.instance.clone())
}

fn token(args: &DoctorArgs) -> Result<Option<Secret>, Failure> {
    let said = match &args.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("--token-file {}: {error}", path.display())))?;
            Some(text)
        }
        None => std::env::var(TOKEN_VARIABLE).ok(),
    };
    let token = said.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    Ok(token.filter(|token| !token.is_empty()).map(Secret::new))
}

/// What the relay that runs on this configuration, if any, has refused of pushes while it has taken none.
async fn refusing(plan: &Plan) -> Vec<(String, u64)> {
    let Ok(Ok(Answer::Status(report))) = admin::call(&plan.data_dir, None, &Command::Status).await else {
        return Vec::new();
    };
    let since = report.relay.running_since;
    let sources = report.sources.into_iter();
    let silent =
        sources.filter(|source| source.refused > 0 && source.last_event_at.is_none_or(|at| Some(at) < since));
    silent.map(|source| (source.name, source.refused)).collect()
}

fn text(examination: &Examination, plan: &Plan, instance: &str) -> String {
    let mut text = format!("asked {}", examination.flipt);
    match examination.answered.as_slice() {
        [] => text.push_str(": no answer\n"),
        answered => text.push_str(&format!(" for {}\n", answered.join(" and "))),
    }
    if let Some(facts) = &examination.facts {
        text.push_str(&format!("Flipt: {}\n", about(facts)));
    }
    text.push_str(&format!("relay: {}\n\n", reads(plan, instance)));
    if examination.findings.is_empty() {
        text.push_str("nothing found wrong\n");
    } else {
        text.push_str(&findings_text(&examination.findings));
    }
    text.push_str(
        "\nNot to be seen from here: how many replicas that Flipt has, and what its network lets through.\n",
    );
    text
}

fn about(facts: &Facts) -> String {
    let mut parts = vec![facts.release.map_or_else(|| "of unknown version".to_owned(), |it| it.to_string())];
    if let Some(config) = facts.config.as_ref().filter(|_| !facts.is_v2) {
        let webhook =
            config.webhook.as_ref().map(|webhook| if webhook.templates { "templates" } else { "URL" });
        parts.push(format!(
            "log sink {}",
            match (config.log, &config.log_file) {
                (false, _) => "off".to_owned(),
                (true, None) => "on (standard output)".to_owned(),
                (true, Some(file)) => format!("on ({})", admin::words::brief(file, 200)),
            }
        ));
        parts.push(
            webhook.map_or_else(|| "webhook sink off".to_owned(), |mode| format!("webhook sink on ({mode})")),
        );
        parts.push(format!("tracing {}", if config.tracing { "on" } else { "off" }));
        if let Some(period) = config.flush_period {
            parts.push(format!("an event may take up to {} to leave it", age(period)));
        }
    }
    parts.join(", ")
}

fn reads(plan: &Plan, instance: &str) -> String {
    let sources = plan.sources.iter().filter(|(_, source)| source.instance == instance);
    let told = sources.map(|(name, source)| match &source.kind {
        SourceKind::File(file) => format!("{name} reads {}", file.paths.join(", ")),
        SourceKind::Http(http) => format!("{name} takes pushes at {}", http.listen),
    });
    told.collect::<Vec<_>>().join("; ")
}

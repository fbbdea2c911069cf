//! One event that says of itself that it is a test, pushed into a running relay as Flipt would, and watched until every
//! destination has settled it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::words::{self, brief};
use super::{Refusal, trial};
use crate::client;
use crate::config::plan::{HttpSourcePlan, Plan, SourceKind, TlsPlan};
use crate::config::secret::address;
use crate::event::Timestamp;
use crate::signing;
use crate::telemetry::instruments::{self as of, Instrument};

/// Between two looks at the metrics.
const LOOK: Duration = Duration::from_millis(200);

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a test enters, and where it is watched.
#[derive(Debug, Clone)]
pub struct Through {
    /// The name of an `http` source of the plan.
    pub source: String,
    /// The address of that source; without it, the one that it listens at.
    pub url: Option<String>,
    /// The address of the health listener; without it, the one of the plan.
    pub health: Option<String>,
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// How long the destinations may take.
    pub timeout: Duration,
}

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The id under which it was accepted.
    pub id: String,
    /// What each destination has done with it, by name.
    pub destinations: BTreeMap<String, Fate>,
}

/// What a destination has done with a test. Other records that were under way at the same time count as well: it is
/// told by the destination's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It took it.
    Delivered,
    /// It is not for it, by its routes or its own rules.
    NotRouted,
    /// It would not take it.
    Dead,
    /// The relay does not know it: it runs by another configuration.
    Unknown,
    /// It has not settled it in time; its state, and how many records wait.
    Waits {
        /// As `status` shows it.
        state: String,
        /// How many wait for it.
        waiting: u64,
    },
}

impl Passage {
    /// Whether nothing is left to be done, and nobody refused it.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.destinations.values().all(|fate| matches!(fate, Fate::Delivered | Fate::NotRouted))
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::NotRouted => f.write_str("not routed there"),
            Self::Dead => f.write_str("refused: it is a dead letter"),
            Self::Unknown => f.write_str("unknown to the relay, which runs by another configuration"),
            Self::Waits { state, waiting } => write!(f, "not settled in time: {state}, {waiting} wait"),
        }
    }
}

/// Pushes a test into a running relay, and waits until every destination has settled it.
///
/// # Errors
/// When there is no such source, it cannot be reached, it refuses the push, or its relay cannot be watched.
pub async fn send_through(plan: &Plan, through: &Through) -> Result<Passage, Refusal> {
    let source = source_of(plan, &through.source)?;
    let scheme = if source.tls.identity.is_some() { "https" } else { "http" };
    let url = through.url.clone().unwrap_or_else(|| format!("{scheme}://{}", reachable(source.listen)));
    let health =
        through.health.clone().unwrap_or_else(|| format!("http://{}", reachable(plan.health.listen)));
    let tls = TlsPlan { ca: through.ca.clone(), identity: None };
    let client = client::build(&tls, None).map_err(Refusal::failure)?;
    let books = Books { client: &client, url: endpoint(&health, "/metrics") };
    let before = books.read().await?;
    let id = push(&client, &endpoint(&url, "/v1/events"), &through.source, source).await?;
    let accepted = books.read().await?;
    let last = accepted.last_sequence()?;
    let deadline = tokio::time::Instant::now() + through.timeout;
    loop {
        let now = books.read().await?;
        let is_over = tokio::time::Instant::now() >= deadline;
        if is_over || now.destinations().all(|name| now.has_settled(name, last)) {
            // How far a lane is may be newer on a page than its books: those of the next page are not older.
            let now = books.read().await?;
            let fates = now.destinations().map(|name| (name.to_owned(), fate(&before, &now, name, last)));
            let mut destinations: BTreeMap<String, Fate> = fates.collect();
            for name in plan.destinations.keys() {
                destinations.entry(name.clone()).or_insert(Fate::Unknown);
            }
            return Ok(Passage { id, destinations });
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn source_of<'p>(plan: &'p Plan, name: &str) -> Result<&'p HttpSourcePlan, Refusal> {
    let is_http = |(name, source): (&'p String, &'p crate::config::plan::SourcePlan)| match &source.kind {
        SourceKind::Http(http) => Some((name.as_str(), http)),
        SourceKind::File(_) => None,
    };
    let known: BTreeMap<&str, &HttpSourcePlan> = plan.sources.iter().filter_map(is_http).collect();
    super::know_of("http source", name, known.keys().copied())?;
    Ok(known[name])
}

/// An address under which this machine reaches what listens at `listen`.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A path below an address that people write with or without it.
fn endpoint(url: &str, path: &str) -> String {
    let url = url.trim_end_matches('/');
    if url.ends_with(path) { url.to_owned() } else { format!("{url}{path}") }
}

/// Pushes a test as Flipt would; the id that it was given.
async fn push(
    client: &reqwest::Client,
    url: &str,
    name: &str,
    source: &HttpSourcePlan,
) -> Result<String, Refusal> {
    #[derive(Deserialize)]
    struct Accepted {
        ids: Vec<String>,
    }
    let now = Timestamp::now();
    let body = trial::original(now);
    let request_name = format!("audit-relay-test-{}", now.unix_micros());
    let mut request = client
        .post(url)
        .timeout(PATIENCE)
        .header("content-type", "application/json")
        .header("webhook-id", &request_name);
    let schemes = source.signing.as_ref();
    let schemes = schemes.map_err(|why| Refusal::failure(format!("source {name} takes nothing: {why}")))?;
    for (header, value) in
        schemes.first().map(|plan| signing::sign(plan, now, &request_name, &body)).into_iter().flatten()
    {
        request = request.header(header, value);
    }
    if let Some(bearer) = &source.bearer {
        request = request.bearer_auth(bearer.expose());
    }
    let told = address(url);
    let unreachable =
        |error| Refusal::failure(format!("{told} cannot be reached: {}", client::describe(error)));
    let answer = request.body(body).send().await.map_err(unreachable)?;
    let status = answer.status();
    let answered = answer.text().await.unwrap_or_default();
    if status != reqwest::StatusCode::OK {
        let why = words::escaped(&brief(&answered, 300));
        return Err(Refusal::failure(format!("{told} answers {status}: {why}")));
    }
    let accepted: Option<Accepted> = serde_json::from_str(&answered).ok();
    let id = accepted.and_then(|accepted| accepted.ids.into_iter().next());
    id.ok_or_else(|| Refusal::failure(format!("{told} answers as no audit-relay does")))
}

/// The metrics of a running relay.
struct Books<'c> {
    client: &'c reqwest::Client,
    url: String,
}

/// Metrics as they were at one moment: series, by name and labels as written.
struct Page(BTreeMap<String, f64>);

impl Books<'_> {
    async fn read(&self) -> Result<Page, Refusal> {
        let told = address(&self.url);
        let unreachable =
            |error| Refusal::failure(format!("{told} cannot be reached: {}", client::describe(error)));
        let answer = self.client.get(&self.url).timeout(PATIENCE).send().await.map_err(unreachable)?;
        let status = answer.status();
        if status != reqwest::StatusCode::OK {
            return Err(Refusal::failure(format!("{told} answers {status} to a question for metrics")));
        }
        let text = answer.text().await.map_err(unreachable)?;
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let read = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Ok(Page(series.filter_map(read).collect()))
    }
}

impl Page {
    /// The number of the last record that was accepted.
    fn last_sequence(&self) -> Result<f64, Refusal> {
        let found = self.0.get(&of::ACCEPTED.series()).copied();
        found.ok_or_else(|| Refusal::failure("the relay is not ready: it tells nothing of records"))
    }

    fn of(&self, instrument: &Instrument, destination: &str) -> f64 {
        let series = format!("{}{{destination=\"{destination}\"}}", instrument.series());
        self.0.get(&series).copied().unwrap_or_default()
    }

    /// The destinations that there are, by the series that each lane has.
    fn destinations(&self) -> impl Iterator<Item = &str> {
        let prefix = format!("{}{{destination=\"", of::LAG.series());
        self.0.keys().filter_map(move |series| series.strip_prefix(&prefix)?.strip_suffix("\"}"))
    }

    fn has_settled(&self, destination: &str, sequence: f64) -> bool {
        self.last_sequence().is_ok_and(|last| last - self.of(&of::LAG, destination) >= sequence)
    }

    fn state(&self, destination: &str) -> String {
        let prefix = format!("{}{{destination=\"{destination}\",state=\"", of::STATE.series());
        let is_on = |(series, value): (&String, &f64)| {
            let state = series.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            (*value > 0.0).then(|| state.to_owned())
        };
        self.0.iter().find_map(is_on).unwrap_or_default()
    }
}

fn fate(before: &Page, now: &Page, name: &str, sequence: f64) -> Fate {
    let has_grown = |instrument| now.of(instrument, name) > before.of(instrument, name);
    if has_grown(&of::DEAD) {
        return Fate::Dead;
    }
    if !now.has_settled(name, sequence) {
        return Fate::Waits { state: now.state(name), waiting: now.of(&of::WAITING, name) as u64 };
    }
    if has_grown(&of::DELIVERED) { Fate::Delivered } else { Fate::NotRouted }
}

//! Bodies for the judges: hostile events through a real journal, rendered for Slack and Datadog, one JSON text a
//! line. `.ci/judges/bodies` has others' libraries look at them.
//!
//! `AUDIT_RELAY_BODIES` is the directory to write to, `AUDIT_RELAY_BODIES_COUNT` how many of each,
//! `AUDIT_RELAY_BODIES_SEED` what they follow from.

mod hostile;

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use audit_relay::config::plan::{DestinationKind, Plan};
use audit_relay::config::{LoadOptions, References, load};
use audit_relay::destination::datadog::Datadog;
use audit_relay::destination::slack::Slack;
use audit_relay::destination::{Delivery, Destination, RenderContext, Request};
use audit_relay::event::{BatchId, EventId, Timestamp};
use audit_relay::journal::{Journal, Options, ReadLimit, ReadRow};
use serde_json::Value;

use crate::support::datadog::{Version, fault};
use crate::support::slack::{harm, malformed};
use crate::support::{Seeded, Workplace, eventually};

/// Everything that changes a body is used.
const CONFIG: &str = include_str!("bodies/relay.yaml");

/// Lines for each body that is asked for: some share one, some have none.
const LINES: usize = 6;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

#[test]
#[ignore = "writes files for judges: .ci/run judges, .ci/nightly/bodies"]
fn bodies_are_written() {
    let directory = variable("AUDIT_RELAY_BODIES");
    let directory = Path::new(&directory);
    let count: usize = variable("AUDIT_RELAY_BODIES_COUNT").parse().unwrap();
    let mut seeded = Seeded::new(variable("AUDIT_RELAY_BODIES_SEED").parse().unwrap());
    std::fs::create_dir_all(directory).unwrap();
    let place = Workplace::new();
    let services: Vec<String> = (0..120).map(|number| format!("service-{number}")).collect();
    place.configure(&CONFIG.replace("SERVICES", &services.join(", ")));
    place.write("audit.log", hostile::log(&mut seeded, count * LINES));
    take_in(&place);
    let plan = plan(&place);
    let deliveries = deliveries(&place, &plan);

    let slack = ["slack_webhook", "slack_bot"].map(|name| built(&plan, name));
    let digests = std::iter::from_fn(|| Some(digest(&mut seeded, &deliveries)));
    let check = |_: usize, body: &Value| {
        assert_eq!(malformed(body), None, "{body:#}");
        assert_eq!(harm(body), None, "{body:#}");
    };
    write(&directory.join("slack.ndjson"), count, &slack, digests, check);
    for (name, version) in [("datadog_v2", Version::V2), ("datadog_v1", Version::V1)] {
        let datadog = [built(&plan, name), built(&plan, &format!("{name}_all"))];
        let check = |_: usize, body: &Value| assert_eq!(fault(version, body, None), None, "{body:#}");
        let file = directory.join(format!("{name}.ndjson"));
        write(&file, count, &datadog, sets(&deliveries).into_iter(), check);
    }
}

/// Has the relay take in the log, and a few acts of an operator.
fn take_in(place: &Workplace) {
    let relay = place.run();
    let size = std::fs::metadata(place.path("audit.log")).unwrap().len();
    eventually("the log is taken in", || {
        let status = place.status();
        (status["sources"][0]["files"][0]["position"] == size).then_some(())
    });
    place.ask(&["pause", "nothing", "--reason", "<!channel> %%% `x`"]);
    place.ask(&["resume", "nothing"]);
    assert!(relay.stop().status.success());
}

fn plan(place: &Workplace) -> Plan {
    let options = LoadOptions {
        config: Some(place.path("relay.yaml")),
        environment: Vec::new(),
        references: References::Resolve,
        allow_inline_secrets: true,
    };
    load(&options).unwrap_or_else(|problems| panic!("{problems}")).plan
}

fn built(plan: &Plan, name: &str) -> Box<dyn Destination> {
    match plan.destinations[name].kind.clone().unwrap() {
        DestinationKind::Slack(slack) => Box::new(Slack::new(*slack)),
        DestinationKind::Datadog(datadog) => Box::new(Datadog::new(*datadog)),
        other => panic!("{other:?}"),
    }
}

/// All that the journal holds, as a lane would hand it on.
fn deliveries(place: &Workplace, plan: &Plan) -> Vec<Delivery> {
    let options = Options {
        data_dir: place.path("data"),
        keep: plan.journal.keep,
        max_size_bytes: plan.journal.max_size_bytes,
        lock_wait: Duration::from_secs(20),
        keeps_all: false,
    };
    let (journal, _) = Journal::open(options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut all: Vec<Delivery> = Vec::new();
    loop {
        let after = all.last().map_or(0, |delivery| delivery.record.sequence);
        let limit = ReadLimit { max_rows: 1_000, max_bytes: 64 << 20 };
        let rows = runtime.block_on(journal.read_after(after, limit)).unwrap();
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let ReadRow::Record(record) = row else { panic!("{row:?}") };
            let environment = plan.environment_of(&record.source, &record.namespace);
            all.push(Delivery { record: *record, environment });
        }
    }
    journal.close().unwrap();
    all
}

/// Some of them in a row, as a digest may have them.
fn digest(seeded: &mut Seeded, all: &[Delivery]) -> Vec<Delivery> {
    let most = match seeded.below(100) {
        0..50 => 1,
        50..75 => 5,
        75..90 => 40,
        90..98 => 400,
        _ => 1_000,
    };
    let count = 1 + usize::try_from(seeded.below(most)).unwrap();
    let first = usize::try_from(seeded.below(all.len() as u64)).unwrap();
    all[first..].iter().take(count).cloned().collect()
}

/// Change sets, and what stands alone, as Datadog has them.
fn sets(all: &[Delivery]) -> Vec<Vec<Delivery>> {
    let mut sets: Vec<Vec<Delivery>> = Vec::new();
    for delivery in all {
        let set = &delivery.record.change_set;
        let joined = sets.last_mut().filter(|last| set.is_some() && last[0].record.change_set == *set);
        match joined {
            Some(last) => last.push(delivery.clone()),
            None => sets.push(vec![delivery.clone()]),
        }
    }
    sets
}

/// Within what a destination takes at once.
fn within(destination: &dyn Destination, mut group: Vec<Delivery>) -> Vec<Delivery> {
    let limits = destination.limits();
    let mut bytes = 0;
    let fits = |delivery: &Delivery| {
        bytes += delivery.record.size_bytes();
        bytes <= limits.max_bytes
    };
    let whole = group.iter().take(limits.max_events).take_while({
        let mut fits = fits;
        move |delivery| fits(delivery)
    });
    let count = whole.count().max(1);
    group.truncate(count);
    group
}

/// Renders groups, by one destination and the other in turn, until there are so many bodies.
fn write(
    file: &Path,
    count: usize,
    destinations: &[Box<dyn Destination>],
    groups: impl Iterator<Item = Vec<Delivery>>,
    check: impl Fn(usize, &Value),
) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    let mut written = 0;
    for (number, group) in groups.enumerate() {
        let destination = &destinations[number % destinations.len()];
        let group = within(&**destination, group);
        let last =
            group.iter().map(|delivery| delivery.record.event_time.unwrap_or(delivery.record.accepted_at));
        // Now and then it is told a day late.
        let late = Duration::from_secs(if number % 5 == 0 { 20 * 3_600 } else { 30 });
        let ids: Vec<EventId> = group.iter().map(|delivery| delivery.record.id).collect();
        let context = RenderContext {
            now: last.max().unwrap_or(Timestamp::now()).plus(late),
            attempt: 1,
            batch_id: BatchId::of("bodies", &ids),
            replay: number % 7 == 0,
        };
        let rendered = destination.render(&group, &context);
        // Whatever it is, it is told, left out, or a dead letter; and only one of these.
        let mut accounted: Vec<EventId> =
            rendered.requests.iter().flat_map(|outbound| outbound.members.iter().copied()).collect();
        accounted
            .extend(rendered.unrenderable.iter().map(|(id, _)| *id).chain(rendered.left_out.iter().copied()));
        assert_eq!(accounted.len(), group.len(), "{}", file.display());
        assert_eq!(accounted.into_iter().collect::<HashSet<_>>(), ids.into_iter().collect::<HashSet<_>>());
        for outbound in rendered.requests {
            let Request::Http(request) = outbound.request else { panic!("no request") };
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            check(number, &body);
            writeln!(out, "{body}").unwrap();
            written += 1;
        }
        if written >= count {
            println!("{written} bodies of {} groups in {}", number + 1, file.display());
            return out.flush().unwrap();
        }
    }
    panic!("only {written} bodies of {count} in {}", file.display());
}

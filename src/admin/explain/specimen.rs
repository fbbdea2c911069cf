//! Events out of a file, as if a source had read them. No journal knows them: what was before is what earlier
//! lines of the same file tell.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::config::plan::{Plan, SourceKind, SourcePlan};
use crate::destination::Delivery;
use crate::event::{
    Entity, EventId, Framing, Incarnation, Keys, Known, Namespace, News, OrderKey, OrderRef, OversizedDetail,
    RecordKind, StoredRecord, Teaching, Timestamp, UnparsedDetail, Without,
};
use crate::flipt::family::{Arrival, Family};
use crate::flipt::{CriLine, LineKind, read_line};

/// The longest line that is kept whole where no source says otherwise.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// How much is kept of one that is longer.
const KEPT_BYTES: usize = 64 << 10;

/// What a file holds.
#[derive(Debug)]
pub struct Specimens {
    /// The records that it would give.
    pub deliveries: Vec<Delivery>,
    /// Lines that are not kept: blank ones, and those of Flipt's application log.
    pub ignored: u64,
    /// The source that they are read as.
    pub source: String,
    /// Whether lines are wrapped in another way than that source expects.
    pub is_other_framing: bool,
}

/// Reads the records of a file as `source` would, or as the only one of the plan.
///
/// # Errors
/// When it is not clear as which source.
pub fn specimens(plan: &Plan, source: Option<&str>, bytes: &[u8]) -> Result<Specimens, String> {
    let names: Vec<&str> = plan.sources.keys().map(String::as_str).collect();
    let (name, known) = match (source, names.as_slice()) {
        (None, &[only]) => (only.to_owned(), &plan.sources[only]),
        (None, _) => return Err(format!("say as which source it is read: --source {}", names.join(" or "))),
        (Some(name), _) => match plan.sources.get(name) {
            Some(known) => (name.to_owned(), known),
            None => return Err(format!("there is no source `{name}`; there are: {}", names.join(", "))),
        },
    };
    let mut reader = Reader::new(plan, &name, known);
    let mut ignored = 0;
    for (offset, line) in lines(bytes) {
        match reader.read(offset, line) {
            Some(delivery) => reader.deliveries.push(delivery),
            None => ignored += 1,
        }
    }
    let expected = match &known.kind {
        SourceKind::File(file) => file.framing,
        SourceKind::Http(_) => Framing::Auto,
    };
    let is_other_framing = reader.deliveries.iter().any(|delivery| delivery.record.framing != expected);
    Ok(Specimens { deliveries: reader.deliveries, ignored, source: name, is_other_framing })
}

/// Each line with its offset; partial lines of a container runtime with those that end them. A single event may
/// be spread over several lines.
fn lines(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    if matches!(read_line(bytes, Framing::Auto, ""), LineKind::Event { .. }) {
        return vec![(0, bytes.trim_ascii_end())];
    }
    let mut lines = Vec::new();
    let (mut begin, mut at) = (0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if CriLine::parse(text).is_some_and(|line| line.partial) && at < bytes.len() {
            continue;
        }
        let end = at - (line.len() - text.len());
        lines.push((begin as u64, &bytes[begin..end]));
        begin = at;
    }
    lines
}

struct Reader<'a> {
    plan: &'a Plan,
    source: &'a SourcePlan,
    name: &'a str,
    max_bytes: usize,
    incarnation: Incarnation,
    /// What earlier lines told of where things belong.
    taught: HashMap<Entity, (String, OrderKey)>,
    /// What earlier lines told of how things are.
    families: HashMap<OrderKey, Family>,
    deliveries: Vec<Delivery>,
}

impl<'a> Reader<'a> {
    fn new(plan: &'a Plan, name: &'a str, source: &'a SourcePlan) -> Self {
        let max_bytes = match &source.kind {
            SourceKind::File(file) => file.max_event_bytes,
            SourceKind::Http(_) => MAX_EVENT_BYTES,
        };
        Self {
            plan,
            source,
            name,
            max_bytes,
            incarnation: Incarnation::name(&plan.name, name, b"explain", 0),
            taught: HashMap::new(),
            families: HashMap::new(),
            deliveries: Vec::new(),
        }
    }

    /// The record that a line would be; none where it is not kept.
    fn read(&mut self, offset: u64, line: &[u8]) -> Option<Delivery> {
        let framing = if CriLine::parse(line).is_some() { Framing::Cri } else { Framing::Auto };
        if line.len() > self.max_bytes {
            return Some(self.oversized(offset, line, framing));
        }
        let record = match read_line(line, framing, &self.source.instance) {
            LineKind::Ignored => return None,
            LineKind::Unparsed { reason } => {
                let detail = serde_json::to_string(&UnparsedDetail { reason }).ok();
                StoredRecord { detail, ..self.record(RecordKind::Unparsed, offset, line, framing) }
            }
            LineKind::Event { time, keys, news } => {
                let (namespace, entity, order_key) = self.place(keys);
                let record = self.record(RecordKind::Event, offset, line, framing);
                let accepted_at = time.unwrap_or(record.accepted_at);
                let mut record =
                    StoredRecord { event_time: time, accepted_at, namespace, entity, order_key, ..record };
                record.known = self.surroundings(&record, news.as_deref());
                record
            }
        };
        Some(self.placed(record))
    }

    fn place(&mut self, keys: Keys) -> (Namespace, Option<Entity>, Option<OrderKey>) {
        let Keys { mut namespace, entity, order, teaches } = keys;
        let order_key = match order {
            OrderRef::Known(key) => Some(key),
            OrderRef::Through(connected) => {
                let found = connected.iter().find_map(|entity| self.taught.get(entity)).cloned();
                found.map(|(known, key)| {
                    namespace = Namespace::Known(known);
                    key
                })
            }
            OrderRef::Barrier => None,
        };
        let lesson = |Teaching { entity, namespace, order_key }: Teaching| (entity, (namespace, order_key));
        self.taught.extend(teaches.into_iter().map(lesson));
        (namespace, entity, order_key)
    }

    /// What is known around an event when it comes.
    fn surroundings(&mut self, record: &StoredRecord, news: Option<&News>) -> Option<Box<str>> {
        let owner = record.order_key.as_ref().and_then(OrderKey::owner);
        let known = match (&record.order_key, owner, news) {
            (Some(order_key), Some((kind, key)), Some(news)) => {
                let family = self.families.entry(order_key.clone());
                family.or_insert_with(|| Family::new(kind, key)).arrive(&Arrival {
                    entity: record.entity.as_ref(),
                    news,
                    event_time: record.event_time,
                    accepted_at: record.accepted_at,
                    sequence: record.sequence,
                    shares_writers: !self.source.single_writer,
                    users: None,
                })
            }
            _ => Known::nothing(Without::NotKept),
        };
        serde_json::to_string(&known).ok().map(String::into_boxed_str)
    }

    fn oversized(&self, offset: u64, line: &[u8], framing: Framing) -> Delivery {
        let head = &line[..KEPT_BYTES.min(self.max_bytes)];
        let detail = OversizedDetail {
            length_bytes: line.len() as u64,
            sha256: hex::encode(Sha256::digest(line)),
            kept_bytes: head.len() as u64,
        };
        let record = self.record(RecordKind::Oversized, offset, head, framing);
        self.placed(StoredRecord { detail: serde_json::to_string(&detail).ok(), ..record })
    }

    fn record(&self, kind: RecordKind, offset: u64, line: &[u8], framing: Framing) -> StoredRecord {
        StoredRecord {
            sequence: self.deliveries.len() as u64 + 1,
            id: EventId::of_line(self.incarnation, offset, line),
            kind,
            source: self.name.into(),
            instance: self.source.instance.as_str().into(),
            epoch: "explain".into(),
            accepted_at: Timestamp::now(),
            event_time: None,
            namespace: Namespace::None,
            entity: None,
            order_key: None,
            framing,
            original: line.to_vec(),
            detail: None,
            trace: None,
            origin: None,
            known: None,
            change_set: None,
            running: std::time::Duration::ZERO,
        }
    }

    fn placed(&self, record: StoredRecord) -> Delivery {
        let environments = &self.plan.routes.environments;
        let environment = self.source.environment.as_ref().or_else(|| environments.of(&record.namespace));
        Delivery { environment: environment.cloned(), record }
    }
}

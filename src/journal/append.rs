//! Acceptance: position, records, order keys and counters, in one savepoint.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::chain::{self, Accepted, OriginColumns};
use super::change_sets::is_own;
use super::job::{Job, Refusal};
use super::ledger::Ledger;
use super::rows::{namespace_columns, number};
use super::schema::{self, key, write_meta};
use super::sources::knows;
use super::states::{self, Coming};
use super::{Advance, Append, AppendError, Appended, Journal, SourceId, running};
use crate::event::{EventId, NewRecord, OrderKey, OrderRef, Placed, RecordKind, Timestamp};

/// How much of `unparsed` originals is kept; what comes beyond is only counted. In bytes.
pub(super) const MAX_UNPARSED_BYTES: u64 = 64 << 20;

/// What a row takes beside its original, about. In bytes.
const ROW_BYTES: u64 = 420;

impl Journal {
    /// Blocking; from threads only. Several appends may be under way at once: they are carried out in order.
    #[must_use]
    pub fn append(&self, append: Append) -> oneshot::Receiver<Result<Appended, AppendError>> {
        let (reply, answer) = oneshot::channel();
        self.send_blocking(AppendJob::new(append, reply));
        answer
    }
}

struct AppendJob {
    append: Append,
    growth_bytes: u64,
    result: Option<Result<Appended, AppendError>>,
    reply: oneshot::Sender<Result<Appended, AppendError>>,
}

impl AppendJob {
    fn new(append: Append, reply: oneshot::Sender<Result<Appended, AppendError>>) -> Self {
        let growth_bytes = append.records.iter().map(growth_bytes).sum();
        Self { append, growth_bytes, result: None, reply }
    }
}

/// How much a record adds, about.
pub(super) fn growth_bytes(record: &NewRecord) -> u64 {
    // The former state, and the new one, with lists of children.
    let states = if record.news.as_ref().is_some_and(|news| news.state.is_some()) { 2 } else { 0 };
    ((1 + states) * record.original.len()) as u64 + ROW_BYTES
}

impl Job for AppendJob {
    fn run(&mut self, conn: &Connection, ledger: &mut Ledger) -> rusqlite::Result<()> {
        self.result = Some(accept(conn, ledger, &self.append)?);
        Ok(())
    }

    fn growth_bytes(&self) -> Option<u64> {
        Some(self.growth_bytes)
    }

    fn finish(self: Box<Self>, outcome: Result<(), Refusal>) {
        let answer = match (outcome, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(AppendError::Io("the request was not carried out".to_owned())),
            (Err(refusal), _) => Err(refusal.into()),
        };
        // Whoever asked may have gone away.
        let _ = self.reply.send(answer);
    }
}

fn accept(
    conn: &Connection,
    ledger: &mut Ledger,
    append: &Append,
) -> rusqlite::Result<Result<Appended, AppendError>> {
    let now = Timestamp::now().unix_micros();
    if let Some(advance) = &append.advance
        && let Err(error) = move_on(conn, advance, now)?
    {
        return Ok(Err(error));
    }
    let incarnation = append.advance.as_ref().map(|advance| advance.incarnation.0);
    let inserter = Inserter::new(conn, ledger, append.source, incarnation, now)?;
    let taken = inserter.take(&append.records, append.ignored)?;
    Ok(Ok(Appended {
        accepted: taken.accepted,
        known: taken.known,
        last_sequence: ledger.heads.last,
        placed: taken.placed,
    }))
}

/// What became of the records of one request.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Records that are new.
    pub(super) accepted: u64,
    /// Records that the journal had already, by id.
    pub(super) known: u64,
    /// The ids of both, in order.
    pub(super) ids: Vec<EventId>,
    /// One of those that are new.
    pub(super) proof: Option<EventId>,
    /// What became of those that are part of a trace, in order; `None` for one that was only counted.
    pub(super) placed: Vec<Option<Placed>>,
}

/// What became of one record.
pub(super) struct Inserted {
    pub(super) id: EventId,
    pub(super) is_new: bool,
    /// Where it is part of a trace.
    pub(super) placed: Option<Placed>,
}

impl Inserted {
    /// The journal has it already.
    fn known(record: &NewRecord, id: EventId) -> Self {
        let placed = Placed { id, sequence: None, order_key: None, change_set: None };
        Self { id, is_new: false, placed: record.trace.is_some().then_some(placed) }
    }
}

/// Compare-and-set: a source that read ahead of a failed append must not leave a hole.
fn move_on(conn: &Connection, advance: &Advance, now: i64) -> rusqlite::Result<Result<(), AppendError>> {
    if advance.to < advance.from {
        return Ok(Err(AppendError::Io("a position cannot go back".to_owned())));
    }
    let print = &advance.fingerprint;
    let moved = conn
        .prepare_cached(
            "UPDATE incarnations SET position = ?3, head_len = ?4, head_hash = ?5, tail_len = ?6, tail_hash = ?7,
               last_path = ?8, inode = ?9, finished = ?10, grown_at = CASE WHEN ?3 > ?2 THEN ?11 ELSE grown_at END
             WHERE id = ?1 AND position = ?2",
        )?
        .execute(params![
            advance.incarnation.0,
            advance.from.cast_signed(),
            advance.to.cast_signed(),
            print.head_len.cast_signed(),
            print.head_hash,
            print.tail_len.cast_signed(),
            print.tail_hash,
            advance.last_path,
            advance.inode.cast_signed(),
            advance.finished,
            now,
        ])?;
    if moved == 1 {
        return Ok(Ok(()));
    }
    let committed = conn
        .prepare_cached("SELECT position FROM incarnations WHERE id = ?1")?
        .query_row([advance.incarnation.0], |row| number(row, 0))
        .optional()?;
    Ok(Err(match committed {
        Some(committed) => AppendError::Moved { committed },
        None => AppendError::Io("the journal does not know this incarnation".to_owned()),
    }))
}

/// Inserts the records of one append: what they share is looked up once.
pub(super) struct Inserter<'a> {
    conn: &'a Connection,
    ledger: &'a mut Ledger,
    insert: rusqlite::CachedStatement<'a>,
    instance: std::sync::Arc<str>,
    source: i64,
    incarnation: Option<i64>,
    now: i64,
    running_ms: i64,
    id: String,
}

impl<'a> Inserter<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        ledger: &'a mut Ledger,
        source: SourceId,
        incarnation: Option<i64>,
        now: i64,
    ) -> rusqlite::Result<Self> {
        let instance = ledger.instance(conn, source)?;
        let running_ms = running::millis(ledger.clock.now());
        let insert = conn.prepare_cached(
            "INSERT INTO records (sequence, id, kind, source, incarnation, offset, epoch, framing, accepted_at,
               event_time, namespace_state, namespace, entity_kind, entity_id, order_key, digest, chain, detail,
               traceparent, tracestate, original, running_ms, change_set, previous_sequence, previous,
               origin_relay, origin_epoch, origin_sequence, origin_accepted_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
               ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)
             ON CONFLICT (id) DO NOTHING",
        )?;
        Ok(Self {
            conn,
            ledger,
            insert,
            instance,
            source: source.0,
            incarnation,
            now,
            running_ms,
            id: String::with_capacity(30),
        })
    }

    /// Inserts records, and counts for their source; `ignored` inputs were read and are not kept.
    pub(super) fn take(mut self, records: &[NewRecord], ignored: u64) -> rusqlite::Result<Taken> {
        let mut taken = Taken::default();
        let mut unparsed = 0_u64;
        let unparsed_bytes = self.ledger.heads.unparsed_bytes;
        for record in records {
            if record.kind == RecordKind::Unparsed {
                unparsed += 1;
                if !self.keeps_unparsed(record) {
                    taken.placed.extend(record.trace.is_some().then_some(None));
                    continue;
                }
            }
            let is_told = record.trace.is_some();
            let inserted = self.insert(record)?;
            if inserted.is_new {
                taken.accepted += 1;
                taken.proof = Some(inserted.id);
            } else {
                taken.known += 1;
            }
            taken.ids.push(inserted.id);
            if is_told {
                taken.placed.push(inserted.placed);
            }
        }
        if !records.is_empty() {
            // What they brought to the state of things.
            self.ledger.states.flush(self.conn)?;
        }
        if records.iter().any(|record| record.origin.is_some()) {
            schema::note_origins(self.conn)?;
        }
        if self.ledger.heads.unparsed_bytes != unparsed_bytes {
            write_meta(self.conn, key::UNPARSED_BYTES, self.ledger.heads.unparsed_bytes.cast_signed())?;
        }
        if taken.accepted > 0 || unparsed > 0 || ignored > 0 {
            self.conn
                .prepare_cached(
                    "UPDATE sources SET ignored = ignored + ?2, unparsed = unparsed + ?3,
                       last_event_at = COALESCE(?4, last_event_at) WHERE id = ?1",
                )?
                .execute(params![
                    self.source,
                    ignored.cast_signed(),
                    unparsed.cast_signed(),
                    (taken.accepted > 0).then_some(self.now),
                ])?;
        }
        Ok(taken)
    }

    /// Whether there is still room for what could not be read.
    fn keeps_unparsed(&mut self, record: &NewRecord) -> bool {
        let kept = self.ledger.heads.unparsed_bytes.saturating_add(record.original.len() as u64);
        if kept <= self.ledger.unparsed_limit {
            return true;
        }
        if !self.ledger.unparsed_said {
            self.ledger.unparsed_said = true;
            let limit_bytes = self.ledger.unparsed_limit;
            tracing::error!(
                limit_bytes,
                "unreadable inputs have filled their share: only counted from now on"
            );
        }
        false
    }

    /// Inserts a record, unless the journal has one of its id.
    pub(super) fn insert(&mut self, record: &NewRecord) -> rusqlite::Result<Inserted> {
        let heads = self.ledger.heads;
        let sequence = heads.last + 1;
        let id = record
            .id
            .unwrap_or_else(|| EventId::of_sequence(&self.ledger.epoch_name, sequence, &record.original));
        self.id.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.id, "{id}");
        let (mut namespace_state, mut namespace) = namespace_columns(&record.keys.namespace);
        if record.news.is_some() && record.id.is_some() && knows(self.conn, &self.id)? {
            return Ok(Inserted::known(record, id));
        }
        let order_key = match &record.keys.order {
            OrderRef::Known(order_key) => Some(order_key.as_str()),
            OrderRef::Through(entities) => {
                let parent = self.ledger.parents.resolve(self.conn, &self.instance, entities)?;
                parent.map(|parent| {
                    (namespace_state, namespace) = (1, Some(parent.namespace.as_str()));
                    parent.order_key.as_str()
                })
            }
            OrderRef::Barrier => None,
        };
        let entity = record.keys.entity.as_ref();
        let trace = record.trace.as_ref();
        let row = Accepted {
            sequence,
            id: &self.id,
            kind: record.kind as i64,
            source: self.source,
            incarnation: self.incarnation,
            offset: record.offset.cast_signed(),
            epoch: self.ledger.epoch,
            framing: record.framing as i64,
            accepted_at: self.now,
            event_time: record.event_time.map(Timestamp::unix_micros),
            namespace_state,
            namespace,
            entity_kind: entity.map(|entity| entity.kind.as_str()),
            entity_id: entity.map(|entity| entity.id.as_str()),
            order_key,
            detail: record.detail.as_deref(),
            traceparent: trace.map(|trace| trace.traceparent.as_str()),
            tracestate: trace.and_then(|trace| trace.tracestate.as_deref()),
            origin: OriginColumns::of(record.origin.as_ref()),
            original: &record.original,
        };
        let digest = chain::digest(&row);
        let link = chain::link(&heads.chain, &digest);
        let placed = match (&record.news, order_key) {
            (Some(news), Some(order_key)) => {
                let accepted_at = Timestamp::from_unix_micros(self.now);
                let (id, source) = (&*self.id, self.source);
                let coming = Coming { record, news, order_key, id, source, sequence, accepted_at };
                Some(self.ledger.states.place(self.conn, &coming)?)
            }
            _ => {
                if record.kind == RecordKind::Event {
                    self.ledger.states.pass();
                }
                None
            }
        };
        let change_set = placed.as_ref().and_then(|placed| placed.change_set.as_deref());
        let known = placed.as_ref().and_then(|placed| placed.known.as_ref());
        let seen = known.and_then(|known| known.seen?.sequence);
        let inserted = self.insert.execute(params![
            row.sequence.cast_signed(),
            row.id,
            row.kind,
            row.source,
            row.incarnation,
            row.offset,
            row.epoch,
            row.framing,
            row.accepted_at,
            row.event_time,
            row.namespace_state,
            row.namespace,
            row.entity_kind,
            row.entity_id,
            row.order_key,
            digest,
            link,
            row.detail,
            row.traceparent,
            row.tracestate,
            row.original,
            self.running_ms,
            change_set.filter(|set| !is_own(set, row.id)),
            seen.map(u64::cast_signed),
            known.map(|known| states::kept(row.id, known)),
            row.origin.relay,
            row.origin.epoch,
            row.origin.sequence,
            row.origin.accepted_at,
        ])?;
        if inserted == 0 {
            return Ok(Inserted::known(record, id));
        }
        let placed = record.trace.is_some().then(|| Placed {
            id,
            sequence: Some(sequence),
            order_key: order_key.map(|key| OrderKey::from_stored(key.to_owned())),
            change_set: change_set.map(Box::from),
        });
        self.ledger.heads.last = sequence;
        self.ledger.heads.chain = link;
        if record.kind == RecordKind::Unparsed {
            self.ledger.heads.unparsed_bytes += record.original.len() as u64;
        }
        for teaching in &record.keys.teaches {
            self.ledger.parents.learn(self.conn, &self.instance, teaching, sequence)?;
        }
        Ok(Inserted { id, is_new: true, placed })
    }
}

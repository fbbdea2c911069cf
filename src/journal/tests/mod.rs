//! Real files in temporary directories.

mod accepting;
mod acts;
mod backup;
mod books;
mod clock;
mod cost;
mod dead_letters;
mod failing;
mod lanes;
mod measuring;
mod migrating;
mod model;
mod opening;
mod origins;
mod passing;
mod pushes;
mod removing;
mod replays;
mod salvaging;
mod states;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::event::{
    Entity, EntityKind, EventId, Framing, Incarnation, Keys, Namespace, NewRecord, OrderKey, OrderRef,
    RecordKind, StoredRecord,
};

/// Enough for every test that is not about size.
const AMPLE: u64 = 1 << 30;

const ALL: ReadLimit = ReadLimit { max_rows: usize::MAX, max_bytes: usize::MAX };

fn options(data_dir: &Path) -> Options {
    Options {
        data_dir: data_dir.to_path_buf(),
        keep: Duration::from_secs(86_400),
        max_size_bytes: AMPLE,
        lock_wait: Duration::from_secs(20),
        keeps_all: false,
    }
}

fn tuning() -> Tuning {
    Tuning { reserve_bytes: 1 << 20, full_pause: Duration::ZERO, ..Tuning::default() }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A journal with one source and one file.
struct Bench {
    dir: TempDir,
    journal: Journal,
    source: SourceId,
    file: IncarnationRow,
    position: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path());
        change(&mut options);
        let (journal, report) = Journal::open_tuned(&options, tuning()).unwrap();
        assert!(report.created);
        let source = journal.register_source("flipt", "flipt").unwrap().id;
        let file = journal.create_incarnation(new_incarnation(source)).unwrap();
        Self { dir, journal, source, file, position: 0 }
    }

    /// Appends lines and moves on behind them.
    fn append(&mut self, lines: &[&str]) -> Result<Appended, AppendError> {
        let (append, to) = self.lines(lines);
        let answer = self.journal.append(append).blocking_recv().unwrap();
        if answer.is_ok() {
            self.position = to;
        }
        answer
    }

    fn lines(&self, lines: &[&str]) -> (Append, u64) {
        let mut offset = self.position;
        let mut records = Vec::new();
        for line in lines {
            records.push(record(self.file.name, offset, line));
            offset += line.len() as u64 + 1;
        }
        let append = Append {
            source: self.source,
            advance: Some(advance(self.file.id, self.position, offset)),
            records,
            ignored: 0,
        };
        (append, offset)
    }

    /// Without a position, as pushes come.
    fn push(&self, records: Vec<NewRecord>) -> Result<Appended, AppendError> {
        let append = Append { source: self.source, advance: None, records, ignored: 0 };
        self.journal.append(append).blocking_recv().unwrap()
    }

    fn read(&self) -> Vec<ReadRow> {
        wait(self.journal.read_after(0, ALL)).unwrap()
    }

    fn records(&self) -> Vec<StoredRecord> {
        self.read().into_iter().map(whole).collect()
    }

    fn lane(&self, name: &str) -> DestinationRow {
        wait(self.journal.register_destination(name, None)).unwrap()
    }

    fn commit(&self, commit: LaneCommit) {
        wait(self.journal.commit_lane(commit)).unwrap();
    }

    fn settle(&self, destination: DestinationId, cursor: Sequence) {
        self.commit(LaneCommit { cursor, ..lane_commit(destination) });
    }

    /// Lines that are of no interest, so many.
    fn append_some(&mut self, count: usize) {
        let lines: Vec<_> = (0..count).map(|line| format!("{}-{line}", self.position)).collect();
        self.append(&lines.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }

    fn last(&self) -> Sequence {
        *self.journal.latest().borrow()
    }

    /// The destination as the journal lists it; the books of all of them balance.
    fn destination(&self, name: &str) -> DestinationRow {
        let rows = wait(self.journal.destinations()).unwrap();
        rows.iter().for_each(|row| assert_balanced(row, self.last()));
        rows.into_iter().find(|row| row.name == name).unwrap()
    }

    fn execute(&self, sql: impl Into<String>) {
        let sql = sql.into();
        self.journal.call(move |conn, _| conn.execute_batch(&sql)).unwrap();
    }

    fn status(&self) -> JournalStatus {
        wait(self.journal.status()).unwrap()
    }

    /// Alters a record, and makes its digest fit.
    fn forge(&self, sequence: Sequence) {
        let forge = move |conn: &Connection, _: &mut Ledger| {
            conn.execute(
                "UPDATE records SET original = CAST('forged' AS BLOB) WHERE sequence = ?1",
                [sequence.cast_signed()],
            )?;
            let digest = conn.query_row(
                &format!("SELECT {} FROM records WHERE sequence = ?1", rows::RECORD_COLUMNS),
                [sequence.cast_signed()],
                |row| Ok(chain::digest(&rows::accepted(row)?)),
            )?;
            conn.execute(
                "UPDATE records SET digest = ?2 WHERE sequence = ?1",
                rusqlite::params![sequence.cast_signed(), digest],
            )
        };
        assert_eq!(self.journal.call(forge).unwrap(), 1);
    }

    /// The corrupt sequences.
    fn corrupt(&self) -> Vec<Sequence> {
        let corrupt = |row: &ReadRow| matches!(row, ReadRow::Corrupt { .. });
        self.read().iter().filter(|row| corrupt(row)).map(ReadRow::sequence).collect()
    }

    /// What the full check counts.
    fn checked(&self) -> u64 {
        let shared = &self.journal.inner.shared;
        shared.corrupt_records.store(0, Ordering::Relaxed);
        check::full_check(shared, &Mutex::new(None), i64::MAX.cast_unsigned(), |_| true).unwrap();
        self.status().corrupt_records
    }

    fn database(&self) -> std::path::PathBuf {
        self.dir.path().join("journal.db")
    }

    /// Ends this journal and opens its files again.
    fn reopen(self) -> (Self, OpenReport) {
        let Self { dir, journal, source, file, position } = self;
        journal.close().unwrap();
        let (journal, report) = Journal::open_tuned(&options(dir.path()), tuning()).unwrap();
        (Self { dir, journal, source, file, position }, report)
    }
}

fn whole(row: ReadRow) -> StoredRecord {
    match row {
        ReadRow::Record(record) => *record,
        ReadRow::Corrupt { sequence } => panic!("record {sequence} is corrupt"),
    }
}

fn fingerprint() -> Fingerprint {
    Fingerprint { head_len: 0, head_hash: [0; 32], tail_len: 0, tail_hash: [0; 32] }
}

fn new_incarnation(source: SourceId) -> NewIncarnation {
    NewIncarnation {
        source,
        relay_name: "relay".to_owned(),
        source_name: "flipt".to_owned(),
        first_line: b"first".to_vec(),
        path: "/var/log/flipt/audit.log".to_owned(),
        inode: u64::MAX,
        position: 0,
        read_from: 0,
        fingerprint: fingerprint(),
    }
}

fn advance(incarnation: IncarnationId, from: u64, to: u64) -> Advance {
    Advance {
        incarnation,
        from,
        to,
        fingerprint: fingerprint(),
        last_path: "/var/log/flipt/audit.log".to_owned(),
        inode: 7,
        finished: false,
    }
}

fn record(file: Incarnation, offset: u64, line: &str) -> NewRecord {
    NewRecord {
        id: Some(EventId::of_line(file, offset, line.as_bytes())),
        kind: RecordKind::Event,
        offset,
        framing: Framing::Auto,
        original: line.as_bytes().to_vec(),
        detail: None,
        event_time: None,
        keys: keys("default", "flag-1"),
        news: None,
        trace: None,
        origin: None,
    }
}

fn keys(namespace: &str, flag: &str) -> Keys {
    Keys {
        namespace: Namespace::Known(namespace.to_owned()),
        entity: Some(entity(EntityKind::Flag, flag)),
        order: OrderRef::Known(OrderKey::new("flipt", namespace, EntityKind::Flag, flag)),
        teaches: Vec::new(),
    }
}

fn entity(kind: EntityKind, id: &str) -> Entity {
    Entity { kind, id: id.to_owned() }
}

fn lane_commit(destination: DestinationId) -> LaneCommit {
    LaneCommit {
        destination,
        cursor: 0,
        acked: Vec::new(),
        counts: Counts::default(),
        dead: Vec::new(),
        opened: Vec::new(),
        closed: Vec::new(),
        endpoint: None,
        quiet: None,
    }
}

fn delivered(delivered: u64) -> Counts {
    Counts { delivered, ..Counts::default() }
}

fn letter(sequence: Sequence) -> DeadLetter {
    DeadLetter { sequence, code: "rejected".to_owned(), message: "no".to_owned(), attempts: 1 }
}

fn batch(id: &str, members: &[Sequence]) -> OpenBatch {
    let id = crate::event::BatchId::from_stored(id.to_owned());
    OpenBatch { id, members: members.to_vec(), attempts: 0, not_before: None }
}

fn act(act: ActKind) -> Act {
    Act {
        act,
        destination: None,
        by: "ann (1000)".to_owned(),
        reason: Some("because".to_owned()),
        records: None,
        detail: serde_json::Value::Null,
    }
}

/// The act that a record keeps.
fn kept_act(record: &StoredRecord) -> Act {
    assert_eq!(
        (record.kind, &*record.source, &*record.instance),
        (RecordKind::Act, "audit-relay", "audit-relay")
    );
    assert_eq!(record.order_key, None);
    serde_json::from_slice(&record.original).unwrap()
}

fn assert_balanced(row: &DestinationRow, last: Sequence) {
    let books = row.books;
    assert_eq!(last + 1 - row.first_sequence, books.sum() + row.waiting(last), "{row:?}");
    assert!(books.before_since + books.observed + books.left_out <= books.not_routed, "{row:?}");
}

/// The chain of all rows, from the first on.
fn assert_chained(database: &Path) {
    let conn = Connection::open(database).unwrap();
    let mut previous = chain::ORIGIN;
    let mut statement = conn.prepare("SELECT digest, chain FROM records ORDER BY sequence").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    for row in rows {
        let (digest, link): (chain::Hash, chain::Hash) = row.unwrap();
        assert_eq!(link, chain::link(&previous, &digest));
        previous = link;
    }
}

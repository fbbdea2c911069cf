//! What the writer knows by heart, so that accepting a record reads nothing from the database.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::number;
use super::running::RunningClock;
use super::schema::{Heads, key, read_meta};
use super::states::States;
use super::{DestinationId, SourceId};
use crate::event::{Entity, Teaching};

/// How many parents are kept in memory; at the limit all are forgotten, and read again as needed.
const MAX_PARENTS: usize = 50_000;

/// What an entity belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) namespace: String,
    pub(super) order_key: String,
}

#[derive(Debug, Default)]
pub(super) struct Parents {
    by_instance: HashMap<Arc<str>, HashMap<Entity, Parent>>,
    count: usize,
}

impl Parents {
    pub(super) fn forget(&mut self) {
        self.by_instance.clear();
        self.count = 0;
    }

    fn keep(&mut self, instance: &Arc<str>, entity: Entity, parent: Parent) {
        if self.count >= MAX_PARENTS {
            self.forget();
        }
        let entities = self.by_instance.entry(Arc::clone(instance)).or_default();
        if entities.insert(entity, parent).is_none() {
            self.count += 1;
        }
    }

    /// What the first known one of `entities` belongs to.
    pub(super) fn resolve(
        &mut self,
        conn: &Connection,
        instance: &Arc<str>,
        entities: &[Entity],
    ) -> rusqlite::Result<Option<&Parent>> {
        for entity in entities {
            let cached = self.by_instance.get(instance).is_some_and(|known| known.contains_key(entity));
            if !cached {
                let stored = conn
                    .prepare_cached(
                        "SELECT namespace, order_key FROM parents WHERE instance = ?1 AND kind = ?2 AND id = ?3",
                    )?
                    .query_row(params![instance, entity.kind.as_str(), entity.id], |row| {
                        Ok(Parent { namespace: row.get(0)?, order_key: row.get(1)? })
                    })
                    .optional()?;
                let Some(parent) = stored else { continue };
                self.keep(instance, entity.clone(), parent);
            }
            return Ok(self.by_instance.get(instance).and_then(|known| known.get(entity)));
        }
        Ok(None)
    }

    /// Keeps what a record teaches; writes only what is new or has changed.
    pub(super) fn learn(
        &mut self,
        conn: &Connection,
        instance: &Arc<str>,
        teaching: &Teaching,
        sequence: u64,
    ) -> rusqlite::Result<()> {
        let known = self.by_instance.get(instance).and_then(|known| known.get(&teaching.entity));
        if known.is_some_and(|parent| {
            parent.namespace == teaching.namespace && parent.order_key == teaching.order_key.as_str()
        }) {
            return Ok(());
        }
        conn.prepare_cached(
            "INSERT INTO parents (instance, kind, id, namespace, order_key, last_sequence)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (instance, kind, id) DO UPDATE SET namespace = excluded.namespace,
               order_key = excluded.order_key, last_sequence = excluded.last_sequence
             WHERE namespace <> excluded.namespace OR order_key <> excluded.order_key",
        )?
        .execute(params![
            instance,
            teaching.entity.kind.as_str(),
            teaching.entity.id,
            teaching.namespace,
            teaching.order_key.as_str(),
            sequence.cast_signed(),
        ])?;
        let parent = Parent {
            namespace: teaching.namespace.clone(),
            order_key: teaching.order_key.as_str().to_owned(),
        };
        self.keep(instance, teaching.entity.clone(), parent);
        Ok(())
    }
}

/// The writer's memory; loaded anew from the rows whenever a group of requests has failed.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) heads: Heads,
    pub(super) epoch: i64,
    pub(super) epoch_name: String,
    pub(super) clock: Arc<RunningClock>,
    pub(super) parents: Parents,
    pub(super) states: States,
    instances: HashMap<SourceId, Arc<str>>,
    /// The cursor of every destination in the table, whether or not it was registered since the start.
    pub(super) cursors: HashMap<DestinationId, u64>,
    /// Records whose dead letters are gone: retention may have passed them, and then they are swept up.
    pub(super) loose: Vec<u64>,
    /// Bytes of `unparsed` originals that may be kept.
    pub(super) unparsed_limit: u64,
    /// Whether the limit above was already said to be reached.
    pub(super) unparsed_said: bool,
    /// About how much was written of the keys of pushes since they were last counted, in bytes.
    pub(super) uncounted_key_bytes: u64,
}

impl Ledger {
    pub(super) fn load(
        conn: &Connection,
        unparsed_limit: u64,
        clock: Arc<RunningClock>,
    ) -> rusqlite::Result<Self> {
        let epoch = read_meta(conn, key::EPOCH)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        Ok(Self {
            heads: Heads::load(conn)?,
            epoch,
            epoch_name: conn.query_row("SELECT name FROM epochs WHERE id = ?1", [epoch], |row| row.get(0))?,
            clock,
            parents: Parents::default(),
            states: States::default(),
            instances: HashMap::new(),
            cursors: cursors(conn)?,
            loose: Vec::new(),
            unparsed_limit,
            unparsed_said: false,
            uncounted_key_bytes: 0,
        })
    }

    pub(super) fn reload(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.heads = Heads::load(conn)?;
        self.forget();
        self.cursors = cursors(conn)?;
        Ok(())
    }

    /// Forgets what was read of rows that may have been rolled back.
    pub(super) fn forget(&mut self) {
        self.parents.forget();
        self.states.forget();
        self.instances.clear();
    }

    pub(super) fn instance(&mut self, conn: &Connection, source: SourceId) -> rusqlite::Result<Arc<str>> {
        if let Some(known) = self.instances.get(&source) {
            return Ok(Arc::clone(known));
        }
        let name: Arc<str> = conn
            .prepare_cached("SELECT instance FROM sources WHERE id = ?1")?
            .query_row([source.0], |row| row.get::<_, String>(0))?
            .into();
        self.instances.insert(source, Arc::clone(&name));
        Ok(name)
    }
}

fn cursors(conn: &Connection) -> rusqlite::Result<HashMap<DestinationId, u64>> {
    conn.prepare_cached("SELECT id, cursor FROM destinations")?
        .query_map([], |row| Ok((DestinationId(row.get(0)?), number(row, 1)?)))?
        .collect()
}

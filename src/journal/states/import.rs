//! What Flipt's API told, for entities that nothing is known of.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::States;
use crate::event::{Entity, EntityKind, Imported, OrderKey, Teaching, Timestamp};
use crate::journal::ledger::Ledger;
use crate::journal::{Journal, JournalError};

impl Journal {
    /// Fills in what Flipt's API told at `at` about one namespace of `instance`, for entities that nothing is
    /// known of; whatever an event told stays. Returns how many were new. `is_whole`: the namespace holds
    /// nothing else.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn prime(
        &self,
        instance: &str,
        namespace: &str,
        imported: Vec<Imported>,
        is_whole: bool,
        at: Timestamp,
    ) -> Result<u64, JournalError> {
        let mut new = 0;
        let mut slices = slices(imported).into_iter().peekable();
        while let Some(slice) = slices.next() {
            let is_last = slices.peek().is_none();
            let (instance, namespace) = (instance.to_owned(), namespace.to_owned());
            let prime = move |conn: &Connection, ledger: &mut Ledger| {
                prime(conn, ledger, (&instance, &namespace), &slice, is_last && is_whole, at)
            };
            new += self.ask(prime).await?;
        }
        Ok(new)
    }

    /// Keeps the states of entities from now on, so that each change tells what was before; or none. Whenever that
    /// changes, all that was known is forgotten.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn keep_changes(&self, keeps: bool) -> Result<(), JournalError> {
        self.ask(move |conn, ledger| ledger.states.keep(conn, keeps)).await
    }

    /// Notes whether others write to the Flipt of a source, unseen by this relay (`single_writer: false`).
    /// Blocking; from threads only.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn set_shared_writers(
        &self,
        source: crate::journal::SourceId,
        shares_writers: bool,
    ) -> Result<(), JournalError> {
        self.call(move |_, ledger| {
            let shared = &mut ledger.states.shared_writers;
            if shares_writers {
                shared.insert(source.0)
            } else {
                shared.remove(&source.0)
            };
            Ok(())
        })
    }
}

/// What is written at once, so that nobody waits for long; families stay whole.
const SLICE: usize = 500;

/// Families that follow one another, at least [`SLICE`] states of them each; one slice at least.
fn slices(imported: Vec<Imported>) -> Vec<Vec<Vec<Imported>>> {
    let mut families: Vec<Vec<Imported>> = Vec::new();
    let mut places: HashMap<(EntityKind, String), usize> = HashMap::new();
    for state in imported {
        let place = *places.entry(state.owner.clone()).or_insert(families.len());
        match families.get_mut(place) {
            Some(family) => family.push(state),
            None => families.push(vec![state]),
        }
    }
    let mut slices = vec![Vec::new()];
    let mut count = 0;
    for family in families {
        if count >= SLICE {
            slices.push(Vec::new());
            count = 0;
        }
        count += family.len();
        if let Some(slice) = slices.last_mut() {
            slice.push(family);
        }
    }
    slices
}

fn prime(
    conn: &Connection,
    ledger: &mut Ledger,
    (instance, namespace): (&str, &str),
    families: &[Vec<Imported>],
    is_whole: bool,
    at: Timestamp,
) -> rusqlite::Result<u64> {
    let mut new = 0;
    let instance: std::sync::Arc<str> = instance.into();
    for family in families {
        let Some((kind, key)) = family.first().map(|state| state.owner.clone()) else { continue };
        let order_key = OrderKey::new(&instance, namespace, kind, &key);
        if ledger.states.keeps() {
            new += ledger.states.import(conn, &order_key, family, at)?;
        }
        // Whose an id is has to be known in any case.
        for state in family.iter().filter(|state| (state.kind, &state.id) != (kind, &key)) {
            let teaching = Teaching {
                entity: Entity { kind: state.kind, id: state.id.clone() },
                namespace: namespace.to_owned(),
                order_key: order_key.clone(),
            };
            ledger.parents.learn(conn, &instance, &teaching, ledger.heads.last)?;
        }
    }
    ledger.states.flush(conn)?;
    if is_whole && ledger.states.keeps() {
        let prefix = OrderKey::new(&instance, namespace, EntityKind::Namespace, namespace).namespace_prefix();
        conn.prepare_cached("INSERT OR REPLACE INTO imports (namespace, imported_at) VALUES (?1, ?2)")?
            .execute(params![prefix, at.unix_micros()])?;
    }
    Ok(new)
}

impl States {
    fn import(
        &mut self,
        conn: &Connection,
        order_key: &OrderKey,
        imported: &[Imported],
        at: Timestamp,
    ) -> rusqlite::Result<u64> {
        let family = self.family(conn, order_key)?;
        let before = family.size_bytes();
        let new = family.import(imported, at);
        let after = family.size_bytes();
        self.bytes = (self.bytes + after).saturating_sub(before);
        self.touched.insert(order_key.as_str().into());
        self.is_unsealed = true;
        Ok(new)
    }
}

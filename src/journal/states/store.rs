//! The rows of states.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::event::{Entity, EntityKind, OrderKey, SeenBy, Timestamp};
use crate::flipt::family::{Family, Form, Link, Member};
use crate::journal::rows::{is_alteration, number};

/// About what a row takes beside its state, in bytes.
const ROW_BYTES: u64 = 120;

const KNOWN: i64 = 0;
const TOO_LARGE: i64 = 1;
const DELETED: i64 = 2;

/// Reads a family. One that nothing is known of, in a namespace that was deleted, went with it.
pub(super) fn load(conn: &Connection, order_key: &OrderKey) -> rusqlite::Result<Family> {
    let (kind, key) = order_key.owner().unwrap_or((EntityKind::Flag, String::new()));
    let owner = Entity { kind, id: key.clone() };
    let mut family = Family::new(kind, key);
    let mut is_empty = true;
    let mut statement = conn.prepare_cached(
        "SELECT kind, id, form, state, parent, position, told_at, is_imported, last_sequence, born_at,
           is_whole
         FROM entities WHERE family = ?1",
    )?;
    let mut rows = statement.query([order_key.as_str()])?;
    while let Some(row) = rows.next()? {
        match member(row) {
            Ok(Some((entity, member))) => family.load(entity, member),
            // Altered on disk: a family that is not whole would tell what is not so.
            Ok(None) => return forget(conn, order_key),
            Err(error) if is_alteration(&error) => return forget(conn, order_key),
            Err(error) => return Err(error),
        }
        is_empty = false;
    }
    if is_empty && let Some(namespace) = order_key.namespace().filter(|_| kind != EntityKind::Namespace) {
        let of_namespace = order_key.sibling(EntityKind::Namespace, &namespace);
        let found = conn
            .prepare_cached(
                "SELECT form, told_at, last_sequence, born_at FROM entities
                 WHERE family = ?1 AND kind = 'namespace' AND id <> ''",
            )?
            .query_row([of_namespace.as_str()], |row| {
                let time = |index| row.get::<_, Option<i64>>(index);
                Ok((row.get::<_, i64>(0)?, time(1)?, number(row, 2)?, time(3)?))
            })
            .optional()?;
        match found {
            Some((DELETED, Some(at), sequence, _)) => {
                family.load(owner, Member::gone(Timestamp::from_unix_micros(at), sequence, 0));
            }
            Some((.., Some(born))) => family.set_floor(Timestamp::from_unix_micros(born)),
            _ => {}
        }
    }
    Ok(family)
}

/// Forgets a family, so that it is learned anew.
fn forget(conn: &Connection, order_key: &OrderKey) -> rusqlite::Result<Family> {
    for table in ["entities", "segment_uses"] {
        conn.execute(&format!("DELETE FROM {table} WHERE family = ?1"), [order_key.as_str()])?;
    }
    conn.execute("DELETE FROM imports WHERE namespace = ?1", [order_key.namespace_prefix()])?;
    let (kind, key) = order_key.owner().unwrap_or((EntityKind::Flag, String::new()));
    Ok(Family::new(kind, key))
}

fn member(row: &Row<'_>) -> rusqlite::Result<Option<(Entity, Member)>> {
    let Some(kind) = EntityKind::parse(row.get_ref(0)?.as_str()?) else { return Ok(None) };
    let form = match row.get::<_, i64>(2)? {
        KNOWN => Form::Known(row.get::<_, String>(3)?.into()),
        TOO_LARGE => Form::TooLarge,
        _ => Form::Deleted,
    };
    let member = Member {
        form,
        parent: row.get::<_, Option<String>>(4)?.map(Into::into),
        position: row.get(5)?,
        at: Timestamp::from_unix_micros(row.get(6)?),
        by: if row.get(7)? { SeenBy::Import } else { SeenBy::Event },
        sequence: number(row, 8)?,
        born: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_unix_micros),
        is_whole: row.get(10)?,
    };
    Ok(Some((Entity { kind, id: row.get(1)? }, member)))
}

/// Writes what has changed of a family; about how much that was, in bytes.
pub(super) fn write(conn: &Connection, order_key: &str, family: &mut Family) -> rusqlite::Result<u64> {
    let mut bytes = 0;
    for (entity, member) in family.changes() {
        match member {
            Some(member) => bytes += keep(conn, order_key, entity, member)?,
            None => {
                conn.prepare_cached("DELETE FROM entities WHERE family = ?1 AND kind = ?2 AND id = ?3")?
                    .execute(params![order_key, entity.kind.as_str(), entity.id])?;
            }
        }
    }
    for link in family.links() {
        relink(conn, order_key, link)?;
    }
    family.settle();
    Ok(bytes)
}

fn keep(conn: &Connection, order_key: &str, entity: &Entity, member: &Member) -> rusqlite::Result<u64> {
    let (form, state) = match &member.form {
        Form::Known(state) => (KNOWN, Some(&**state)),
        Form::TooLarge => (TOO_LARGE, None),
        Form::Deleted => (DELETED, None),
    };
    conn.prepare_cached(
        "INSERT OR REPLACE INTO entities (family, kind, id, form, state, parent, position, told_at, is_imported,
           last_sequence, born_at, is_whole)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        order_key,
        entity.kind.as_str(),
        entity.id,
        form,
        state,
        member.parent,
        member.position,
        member.at.unix_micros(),
        member.by == SeenBy::Import,
        member.sequence.cast_signed(),
        member.born.map(Timestamp::unix_micros),
        member.is_whole,
    ])?;
    Ok(ROW_BYTES + state.map_or(0, |state| state.len() as u64))
}

fn relink(conn: &Connection, order_key: &str, link: &Link) -> rusqlite::Result<()> {
    let kind = link.user.kind.as_str();
    let family = OrderKey::from_stored(order_key.to_owned());
    let Some(segments) = &link.segments else {
        // It may use others as well now: who uses a segment is not known completely any more.
        conn.prepare_cached("DELETE FROM imports WHERE namespace = ?1")?
            .execute([family.namespace_prefix()])?;
        return Ok(());
    };
    conn.prepare_cached("DELETE FROM segment_uses WHERE family = ?1 AND kind = ?2 AND id = ?3")?
        .execute(params![order_key, kind, link.user.id])?;
    for segment in segments {
        conn.prepare_cached(
            "INSERT OR IGNORE INTO segment_uses (segment, family, kind, id) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            family.sibling(EntityKind::Segment, segment).as_str(),
            order_key,
            kind,
            link.user.id
        ])?;
    }
    Ok(())
}

/// How many flags use a segment.
pub(super) fn count_users(conn: &Connection, segment: &OrderKey) -> rusqlite::Result<u32> {
    conn.prepare_cached("SELECT COUNT(DISTINCT family) FROM segment_uses WHERE segment = ?1")?
        .query_row([segment.as_str()], |row| row.get(0))
}

/// The flags that use a segment, by key.
pub(super) fn users(conn: &Connection, segment: &OrderKey, limit: usize) -> rusqlite::Result<Vec<OrderKey>> {
    conn.prepare_cached(
        "SELECT DISTINCT family FROM segment_uses WHERE segment = ?1 ORDER BY family LIMIT ?2",
    )?
    .query_map(params![segment.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        row.get(0).map(OrderKey::from_stored)
    })?
    .collect()
}

/// Whether all of the namespace that an order key belongs to was imported.
pub(super) fn is_imported(conn: &Connection, order_key: &OrderKey) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM imports WHERE namespace = ?1)")?
        .query_row([order_key.namespace_prefix()], |row| row.get(0))
}

/// How many entities a namespace holds beside itself, and the first of them: flags and segments before what
/// belongs to them.
pub(super) fn members_of_namespace(
    conn: &Connection,
    namespace: &OrderKey,
    limit: usize,
) -> rusqlite::Result<(u32, Vec<(OrderKey, Entity)>)> {
    let (from, to) = range(namespace);
    let count = conn
        .prepare_cached(
            "SELECT COUNT(*) FROM entities WHERE family >= ?1 AND family < ?2 AND family <> ?3 AND form <> 2
               AND id <> ''",
        )?
        .query_row(params![from, to, namespace.as_str()], |row| row.get(0))?;
    let first = conn
        .prepare_cached(
            "SELECT family, kind, id FROM entities
             WHERE family >= ?1 AND family < ?2 AND family <> ?3 AND form <> 2 AND id <> ''
             ORDER BY kind NOT IN ('flag', 'segment'), family, kind, id LIMIT ?4",
        )?
        .query_map(params![from, to, namespace.as_str(), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            let kind = EntityKind::parse(row.get_ref(1)?.as_str()?);
            let entity = Entity { kind: kind.unwrap_or(EntityKind::Flag), id: row.get(2)? };
            Ok((OrderKey::from_stored(row.get(0)?), entity))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok((count, first))
}

/// Whether an event told something of a namespace, beside itself, that is newer than `time`.
pub(super) fn has_newer(conn: &Connection, namespace: &OrderKey, time: Timestamp) -> rusqlite::Result<bool> {
    let (from, to) = range(namespace);
    conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM entities WHERE family >= ?1 AND family < ?2 AND family <> ?3
           AND told_at > ?4 AND NOT is_imported)",
    )?
    .query_row(params![from, to, namespace.as_str(), time.unix_micros()], |row| row.get(0))
}

/// Forgets all that a namespace holds beside itself.
pub(super) fn forget_namespace(conn: &Connection, namespace: &OrderKey) -> rusqlite::Result<()> {
    let (from, to) = range(namespace);
    conn.prepare_cached("DELETE FROM entities WHERE family >= ?1 AND family < ?2 AND family <> ?3")?
        .execute(params![from, to, namespace.as_str()])?;
    conn.prepare_cached("DELETE FROM segment_uses WHERE family >= ?1 AND family < ?2")?
        .execute(params![from, to])?;
    conn.prepare_cached("DELETE FROM imports WHERE namespace = ?1")?.execute([from])?;
    Ok(())
}

/// All order keys of a namespace lie from the first up to the second.
fn range(order_key: &OrderKey) -> (String, String) {
    let from = order_key.namespace_prefix();
    // `0` is what follows `/`, which parts never hold.
    let to = format!("{}0", from.strip_suffix('/').unwrap_or(&from));
    (from, to)
}

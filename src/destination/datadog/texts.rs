//! What both versions of the API say alike.

use super::cut::name;
use super::gist::{Edit, Gist, record_word};
use crate::destination::telling::EventFacts;
use crate::destination::telling::{Account, Nature, Row};
use crate::event::EntityKind;

/// Characters of a line of a message.
pub(super) const MAX_LINE: usize = 600;
/// Of the characters of a message, what links may take.
pub(super) const MAX_LINKS: usize = 1_500;
/// Characters of an aggregation key.
const MAX_KEY: usize = 100;

/// `flipt:production:checkout`: equal for what is about the same.
pub(super) fn aggregation_key(account: &Account<'_>, types: &[String]) -> String {
    let record = account.deliveries.first().map(|delivery| &delivery.record);
    let instance = record.map_or("flipt", |record| &*record.instance);
    let key = match (account.nature, &account.subject) {
        (Nature::Denied, _) => {
            format!("{instance}:denied:{:016x}", account.doer.as_ref().map_or(0, |doer| doer.mark))
        }
        (Nature::Record, _) => {
            let (kind, source) = record.map_or(("record", ""), |it| (record_word(it.kind), &*it.source));
            format!("{instance}:{kind}:{source}")
        }
        (Nature::Change, Some(subject)) => {
            let namespace = subject.namespace.known();
            let kind = (subject.kind != EntityKind::Flag).then_some(subject.kind.as_str());
            let key = subject.key.as_deref().or(types.first().map(String::as_str));
            let parts = [Some(instance), namespace, kind, key];
            parts.into_iter().flatten().collect::<Vec<_>>().join(":")
        }
        (Nature::Change, None) => format!("{instance}:{}", types.first().map_or("event", String::as_str)),
    };
    name(&key, MAX_KEY).unwrap_or_else(|| "flipt".to_owned())
}

/// `Ann (ann@example.com) · payments`.
pub(super) fn head(gist: &Gist<'_>) -> Option<String> {
    let parts: Vec<&str> = gist.author.as_deref().into_iter().chain(gist.teams.iter().copied()).collect();
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// An address in a text: nothing in it may be read as a mention.
pub(super) fn shown(url: &str) -> String {
    url.replace('@', "%40")
}

/// Both sides of a row; `none` of what is known to have been nothing.
pub(super) fn sides<'r>(edit: &Edit, row: &'r Row) -> (Option<&'r str>, Option<&'r str>) {
    let none = |is_known: bool| is_known.then_some("none");
    let old = row.old.as_deref().or(none(edit.knows_before && row.new.is_some()));
    let new = row.new.as_deref().or(none(!edit.is_deletion && row.old.is_some()));
    (old, new)
}

/// What an edit tells of the two sides of its rows: whether nothing before means `none`, and whether nothing
/// after means that it is deleted.
pub(super) fn knowledge(fact: Option<&EventFacts>) -> (bool, bool) {
    let knows_before = fact.is_some_and(|fact| fact.is_updated() && fact.has_before);
    (knows_before, fact.is_some_and(EventFacts::is_deleted))
}

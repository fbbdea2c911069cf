//! Records that belong together, with all that a message for people says of them: change sets, refused attempts
//! of one actor, and whatever stands alone.

use std::borrow::Cow;
use std::sync::Arc;

use super::reading::{Reading, Source};
use super::{Sentence, Story, Tone, compose, is_test, records, tell_one};
use crate::destination::Delivery;
use crate::destination::envelope::Opened;
use crate::destination::redact::MASK;
use crate::event::text::one_line;
use crate::event::{Deed, EntityKind, Namespace, Several, Timestamp};
use crate::flipt::{self, ActorKind, ChangeFacts, ChangeKind};
use crate::routing::{Owner, Owners};

/// Names and addresses are told up to here.
const NAME_CHARACTERS: usize = 120;
/// Words of Flipt's that are no known ones are told up to here.
const WORD_CHARACTERS: usize = 60;

/// What kind of thing an account tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// Something was changed.
    Change,
    /// Attempts that Flipt refused.
    Denied,
    /// Something is missing or cannot be read, or an act of an operator of the relay.
    Record,
}

/// What a change is about: the flag or segment, or what else has a place of its own in Flipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// A flag, a segment, a namespace or a token.
    pub kind: EntityKind,
    /// Its key, as it came (not fit to be shown as it is); `None`: not known.
    pub key: Option<String>,
    /// What people call it, on one line; `None`: not known, or the same as the key.
    pub name: Option<String>,
    /// Its namespace.
    pub namespace: Namespace,
    /// The Flipt it belongs to.
    pub instance: Arc<str>,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doer {
    /// As sentences say it: `Ann`, `ben@example.com`, `An API token`, `Someone`.
    pub said: String,
    /// The name, on one line.
    pub name: Option<String>,
    /// The e-mail address, on one line.
    pub email: Option<String>,
    /// What acted.
    pub kind: ActorKind,
    /// Equal for the same actor, as far as events tell.
    pub mark: u64,
}

impl Doer {
    /// Whether events tell who it was: by a name or an address that is not hidden.
    #[must_use]
    pub fn is_named(&self) -> bool {
        let is_told = |said: &Option<String>| said.as_deref().is_some_and(|said| said != MASK);
        is_told(&self.name) || is_told(&self.email)
    }

    /// What several are called whom events do not name: they may be one or many.
    #[must_use]
    pub const fn kind_unnamed(&self) -> &'static str {
        match self.kind {
            ActorKind::Token => "API tokens not named here",
            ActorKind::Automation => "machines not named here",
            ActorKind::Person | ActorKind::Unknown => "someone not named here",
        }
    }
}

/// What one event says beside its story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFacts {
    /// The type of event, as Flipt spells it, on one line.
    pub noun: String,
    /// What was done, as Flipt spells it, on one line.
    pub action: String,
    /// Names of the fields that differ; `None`: not known.
    pub changed: Option<Vec<String>>,
    /// What kind of change; `None`: not known.
    pub kind: Option<ChangeKind>,
    /// Whether it is older than what was known already.
    pub is_late: bool,
    /// Whether the state before it is known.
    pub has_before: bool,
}

impl EventFacts {
    /// What kind of thing it is about.
    #[must_use]
    pub fn entity(&self) -> Option<EntityKind> {
        EntityKind::parse(&self.noun)
    }

    /// Whether that was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.action == "deleted"
    }

    /// Whether that was updated.
    #[must_use]
    pub fn is_updated(&self) -> bool {
        self.action == "updated"
    }
}

/// Records that are told as one.
#[derive(Debug, Clone)]
pub struct Account<'a> {
    /// The records, in order; never empty.
    pub deliveries: Vec<&'a Delivery>,
    /// What kind of thing it is.
    pub nature: Nature,
    /// Headline, and what changed from the beginning to the end of it.
    pub story: Story,
    /// What it is about; `None` where the event does not say (every denied attempt), or is none.
    pub subject: Option<Subject>,
    /// The kinds of entity that events speak of, each once, in order of appearance.
    pub kinds: Vec<EntityKind>,
    /// Who did it.
    pub doer: Option<Doer>,
    /// The environment.
    pub environment: Option<Arc<str>>,
    /// The fields that changed, each once, in order of appearance; as conditions spell them.
    pub changed: Vec<String>,
    /// What kind of change: what matters most of the events. `None`: not known.
    pub kind: Option<ChangeKind>,
    /// Whether what people get is concerned, by any of the events. `None`: not known.
    pub live: Option<bool>,
    /// Keys of the flags that use the segment it is about, as far as is known.
    pub used_by: Option<Several<String>>,
    /// The time of the first event (its acceptance, where it tells none) …
    pub first_at: Timestamp,
    /// … and of the last.
    pub last_at: Timestamp,
    /// The time of the first event that changed what people get; of the first, where none did.
    pub effect_at: Timestamp,
    /// The change set.
    pub change_set: Option<&'a str>,
    /// Whether what it is about is there no more, as far as its events tell.
    pub is_gone: bool,
    /// Whether a namespace was deleted with all that was in it.
    pub is_forced: bool,
    /// What each event says, in order; nothing of records that are no events.
    pub facts: Vec<EventFacts>,
}

impl Account<'_> {
    /// What it is about at first sight, in one character.
    #[must_use]
    pub fn emoji(&self) -> &'static str {
        match (self.nature, self.story.headline.tone) {
            _ if self.is_test() => "🧪",
            (Nature::Denied, _) | (_, Tone::Denied) => "⛔",
            (Nature::Record, _) | (_, Tone::Warning) => "⚠️",
            (_, Tone::On) => "🟢",
            (_, Tone::Off) => "🔴",
            (_, Tone::Rollout | Tone::Split) => "🎚️",
            (_, Tone::Segment) => "👥",
            (_, Tone::Text) => "✏️",
            (_, Tone::Access) => "🔑",
            (_, Tone::Late) => "🕓",
            (_, Tone::Deleted) => "🗑️",
            (_, Tone::Other) => "⚙️",
        }
    }

    /// Whether it tells of nothing but a test.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.deliveries.iter().all(|delivery| is_test(delivery))
    }

    /// The place of its first record in the journal: times of events may be equal, or of another clock.
    #[must_use]
    pub fn first_sequence(&self) -> u64 {
        self.deliveries.iter().map(|delivery| delivery.record.sequence).min().unwrap_or_default()
    }

    /// The place of its last record in the journal.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.deliveries.iter().map(|delivery| delivery.record.sequence).max().unwrap_or_default()
    }

    /// The flags that use the segment it is about, as far as they are named.
    #[must_use]
    pub fn flags_of_segment(&self) -> &[String] {
        let is_segment = self.subject.as_ref().is_some_and(|subject| subject.kind == EntityKind::Segment);
        self.used_by.as_ref().filter(|_| is_segment).map_or(&[], |flags| flags.first.as_slice())
    }

    /// Who owns what it is about, each once; what a segment decides concerns the owners of the flags that use
    /// it, too.
    #[must_use]
    pub fn owners<'o>(&'o self, table: &'o Owners) -> Vec<&'o Owner> {
        let Some(subject) = &self.subject else { return Vec::new() };
        let Some(key) = &subject.key else { return Vec::new() };
        let mut owners: Vec<&Owner> = table.of(subject.kind, key, &subject.namespace).collect();
        for flag in self.flags_of_segment() {
            for owner in table.of(EntityKind::Flag, flag, &subject.namespace) {
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
        }
        owners
    }
}

/// Everything that some records tell.
#[derive(Debug, Clone, Default)]
pub struct Accounts<'a> {
    /// In the order of their first records.
    pub told: Vec<Account<'a>>,
    /// Events that changed nothing, as far as Flipt shows it.
    pub empty: Vec<&'a Delivery>,
}

/// What keeps records together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bond<'a> {
    ChangeSet(&'a str),
    Denied(u64),
    Alone,
}

/// Sorts records, in their order, into accounts.
#[must_use]
pub fn accounts(deliveries: &[Delivery]) -> Accounts<'_> {
    let sources: Vec<Source<'_>> = deliveries.iter().map(Source::open).collect();
    let opened: Vec<Opened<'_>> = sources.iter().map(Source::opened).collect();
    let mut groups: Vec<(Bond<'_>, Vec<Member<'_, '_>>)> = Vec::new();
    let mut empty = Vec::new();
    for (delivery, (source, opened)) in deliveries.iter().zip(sources.iter().zip(&opened)) {
        let member = Member::new(delivery, Reading::of(source, opened));
        if member.is_empty() {
            empty.push(delivery);
            continue;
        }
        let bond = member.bond();
        let joined = groups.iter_mut().find(|(other, _)| bond != Bond::Alone && *other == bond);
        match joined {
            Some((_, members)) => members.push(member),
            None => groups.push((bond, vec![member])),
        }
    }
    let told = groups.into_iter().filter_map(|(bond, members)| account(&bond, members)).collect();
    Accounts { told, empty }
}

/// Whether a record turns a live flag off or deletes one, deletes a segment that such a flag uses, or a namespace
/// with all that is in it: what nobody should hear of late.
#[must_use]
pub fn is_urgent(delivery: &Delivery) -> bool {
    let source = Source::open(delivery);
    let opened = source.opened();
    let Some(reading) = Reading::of(&source, &opened) else { return false };
    if !reading.is_told_with_others() {
        return false;
    }
    match (reading.kind, reading.deed) {
        (Some(EntityKind::Flag), _) if reading.known.live == Some(false) => false,
        (Some(EntityKind::Flag), Deed::Deleted) => true,
        (Some(EntityKind::Flag), Deed::Updated) => {
            let changed = || flipt::facts(reading.event, reading.known).changed;
            is_off(&reading) && changed().is_some_and(|fields| fields.iter().any(|field| field == "enabled"))
        }
        (Some(EntityKind::Segment), Deed::Deleted) => reading.known.live == Some(true),
        (Some(EntityKind::Namespace), Deed::Deleted) => {
            reading.is_forced() || reading.known.live == Some(true)
        }
        _ => false,
    }
}

/// The mark of who was refused, where a record tells of a refused attempt.
#[must_use]
pub fn refused(delivery: &Delivery) -> Option<u64> {
    flipt::with_event(&delivery.record, |event| {
        event.filter(|event| event.is_denied()).map(flipt::actor_mark)
    })
}

fn is_off(reading: &Reading<'_>) -> bool {
    // Flipt leaves out what is false.
    reading.event.payload.is_some_and(|payload| flipt::Fields::read(payload).truth("enabled") != Some(true))
}

struct Member<'a, 'r> {
    delivery: &'a Delivery,
    reading: Option<Reading<'r>>,
    /// Of its reading, found out once.
    facts: Option<ChangeFacts>,
}

impl<'a, 'r> Member<'a, 'r> {
    fn new(delivery: &'a Delivery, reading: Option<Reading<'r>>) -> Self {
        let facts = reading.as_ref().map(|reading| flipt::facts(reading.event, reading.known));
        Self { delivery, reading, facts }
    }

    /// Whether nothing changed, as far as Flipt shows it.
    fn is_empty(&self) -> bool {
        let Some(reading) = &self.reading else { return false };
        reading.is_told_with_others()
            && matches!(reading.deed, Deed::Updated | Deed::Reordered)
            && self.facts.as_ref().and_then(|facts| facts.changed.as_ref()).is_some_and(Vec::is_empty)
    }

    fn bond(&self) -> Bond<'a> {
        let Some(reading) = &self.reading else { return Bond::Alone };
        if reading.event.is_denied() {
            return Bond::Denied(flipt::actor_mark(reading.event));
        }
        match self.delivery.record.change_set.as_deref() {
            Some(id) if reading.is_told_with_others() => Bond::ChangeSet(id),
            _ => Bond::Alone,
        }
    }

    fn at(&self) -> Timestamp {
        self.delivery.record.event_time.unwrap_or(self.delivery.record.accepted_at)
    }
}

/// One account of members that belong together.
fn account<'a>(bond: &Bond<'a>, members: Vec<Member<'a, '_>>) -> Option<Account<'a>> {
    let first = members.first()?;
    let times = || members.iter().map(Member::at);
    let (first_at, last_at) = (times().min()?, times().max()?);
    let facts = || members.iter().filter_map(|member| member.facts.as_ref());
    let rank = |kind: &ChangeKind| match kind {
        ChangeKind::Access => 2,
        ChangeKind::Behaviour => 1,
        ChangeKind::Text => 0,
    };
    let mut fields: Vec<String> = Vec::new();
    for field in facts().flat_map(|facts| facts.changed.iter().flatten()) {
        if !fields.contains(field) {
            fields.push(field.clone());
        }
    }
    let mut kinds = Vec::new();
    for kind in members.iter().filter_map(|member| member.reading.as_ref()?.kind) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let lives = || facts().map(|facts| facts.live);
    let with_effect = members
        .iter()
        .find(|member| member.facts.as_ref().is_some_and(|facts| facts.kind != Some(ChangeKind::Text)));
    let readings = || members.iter().filter_map(|member| member.reading.as_ref());
    Some(Account {
        nature: match (bond, &first.reading) {
            (Bond::Denied(_), _) => Nature::Denied,
            (_, Some(_)) => Nature::Change,
            (_, None) => Nature::Record,
        },
        subject: subject_of(&members),
        kinds,
        doer: members.iter().find_map(doer),
        environment: first.delivery.environment.clone(),
        changed: fields,
        kind: facts().filter_map(|facts| facts.kind).max_by_key(rank),
        live: match lives().any(|live| live == Some(true)) {
            true => Some(true),
            false if lives().all(|live| live == Some(false)) && facts().next().is_some() => Some(false),
            false => None,
        },
        used_by: readings().filter_map(|reading| reading.known.used_by.clone()).next_back(),
        first_at,
        last_at,
        effect_at: with_effect.map_or(first_at, Member::at),
        change_set: first.delivery.record.change_set.as_deref(),
        is_gone: is_gone(&members),
        is_forced: readings().any(Reading::is_forced),
        facts: members.iter().filter_map(event_facts).collect(),
        deliveries: members.iter().map(|member| member.delivery).collect(),
        story: story(bond, members),
    })
}

fn event_facts(member: &Member<'_, '_>) -> Option<EventFacts> {
    let (reading, facts) = (member.reading.as_ref()?, member.facts.as_ref()?);
    Some(EventFacts {
        noun: one_line(&reading.event.noun, WORD_CHARACTERS),
        action: one_line(&reading.event.action, WORD_CHARACTERS),
        changed: facts.changed.clone(),
        kind: facts.kind,
        is_late: reading.known.late.is_some(),
        has_before: reading.known.late.is_none() && reading.known.before.is_some(),
    })
}

/// Whether the last event about the thing itself, and not a part of it, says that it is there no more.
fn is_gone(members: &[Member<'_, '_>]) -> bool {
    let readings = members.iter().rev().filter_map(|member| member.reading.as_ref());
    let own = readings
        .filter(|reading| !reading.event.is_denied())
        .find(|reading| reading.kind == Some(reading.owner().0));
    own.is_some_and(|own| match &own.known.late {
        Some(late) => late.is_deleted || (own.deed == Deed::Deleted && late.current.is_none()),
        None => own.deed == Deed::Deleted,
    })
}

fn story(bond: &Bond<'_>, members: Vec<Member<'_, '_>>) -> Story {
    let alone = |headline: Sentence| Story { headline, rows: Vec::new() };
    if let [only] = members.as_slice() {
        return tell_one(only.delivery, only.reading.as_ref());
    }
    let readings: Vec<Reading<'_>> = members.into_iter().filter_map(|member| member.reading).collect();
    match bond {
        Bond::Denied(_) => alone(records::refused(&readings)),
        _ => compose::story(&readings, 0),
    }
}

/// What the first of them is about, by the name that the last of them has for it.
fn subject_of(members: &[Member<'_, '_>]) -> Option<Subject> {
    let mut readings = members.iter().filter_map(|member| member.reading.as_ref());
    let first = readings.next().filter(|reading| !reading.event.is_denied()).and_then(subject)?;
    let later = readings.rev().filter_map(subject);
    let name = later.filter(|later| later.kind == first.kind && later.key == first.key);
    let name = name.filter_map(|later| later.name).next();
    Some(Subject { name: name.or_else(|| first.name.clone()), ..first })
}

fn subject(reading: &Reading<'_>) -> Option<Subject> {
    let (kind, key) = reading.owner();
    reading.kind?;
    let record = &reading.delivery.record;
    // Of what is deleted, events tell no name.
    let states = [reading.event.payload, reading.known.before.as_deref()];
    let states = states.into_iter().flatten().filter(|_| reading.kind == Some(kind)).map(flipt::Fields::read);
    let own = states.filter_map(|fields| fields.text("name").map(Cow::into_owned)).next();
    let name = own.or_else(|| reading.known.owner_name.clone());
    let name = name.map(|name| one_line(&name, NAME_CHARACTERS));
    Some(Subject {
        kind,
        name: name.filter(|name| !name.is_empty() && Some(name) != key.as_ref()),
        key,
        namespace: record.namespace.clone(),
        instance: Arc::clone(&record.instance),
    })
}

fn doer(member: &Member<'_, '_>) -> Option<Doer> {
    let (reading, facts) = (member.reading.as_ref()?, member.facts.as_ref()?);
    let line = |said: &Option<Cow<'_, str>>| {
        said.as_deref().map(|said| one_line(said, NAME_CHARACTERS)).filter(|said| !said.is_empty())
    };
    Some(Doer {
        said: reading.who(),
        name: line(&reading.actor.name),
        email: line(&reading.actor.email),
        kind: facts.actor_kind,
        mark: flipt::actor_mark(reading.event),
    })
}

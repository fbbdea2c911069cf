//! What an event of Datadog says, whatever its version.

use super::cut::{cut, quiet};
use super::tags::{self, service};
use super::texts::knowledge;
use super::time::{When, clock};
use super::values::{Side, values};
use crate::config::plan::DatadogPlan;
use crate::destination::RenderContext;
use crate::destination::links::{self, Link, Links};
use crate::destination::telling::{self, Account, Doer, EventFacts, Nature, Row, Subject, story};
use crate::event::text::one_line;
use crate::event::{EntityKind, RecordKind, Timestamp};
use crate::routing::Owner;

/// Characters of a title, at most.
const MAX_TITLE: usize = 500;
/// Services of one event, at most.
const MOST_SERVICES: usize = 100;
/// Bytes of an address, at most.
const MAX_ADDRESS: usize = 2_048;
/// What the title of an event begins with that a person asked for once more.
const ONCE_MORE: &str = "Told once more: ";
/// What the title of a test says.
const TEST: &str = "A test of audit-relay: nothing was changed";
/// What its message says.
const SENT_BY: &str = "Sent by audit-relay send-test";

/// One event, ready to be written in either version.
pub(super) struct Gist<'a> {
    pub(super) account: &'a Account<'a>,
    pub(super) title: String,
    pub(super) when: When,
    /// `Ann (ann@example.com)`.
    pub(super) author: Option<String>,
    pub(super) teams: Vec<&'a str>,
    pub(super) services: Vec<String>,
    pub(super) edits: Vec<Edit>,
    /// Further sentences of the message.
    pub(super) notes: Vec<String>,
    pub(super) links: Vec<Link>,
    /// Of these, the one to the flag or segment in Flipt.
    pub(super) flipt: Option<Link>,
    pub(super) tags: Vec<String>,
    pub(super) values: (Side, Side),
    /// The types of event, as Flipt spells them.
    pub(super) types: Vec<String>,
    /// What was done, as Flipt spells it.
    pub(super) actions: Vec<String>,
    pub(super) is_late: bool,
    /// Whether a person asked for it once more.
    pub(super) is_replay: bool,
}

/// One thing of one event: a row, or a whole sentence.
pub(super) struct Edit {
    /// `14:14:02Z`.
    pub(super) at: String,
    pub(super) told: Told,
    /// Whether a row without a former value tells of one that there was not.
    pub(super) knows_before: bool,
    pub(super) is_deletion: bool,
}

pub(super) enum Told {
    Row(Row),
    Sentence(String),
}

impl<'a> Gist<'a> {
    pub(super) fn of(
        account: &'a Account<'a>,
        plan: &'a DatadogPlan,
        links: &Links,
        context: &RenderContext,
    ) -> Self {
        let when = When::of(account.effect_at, context.now, plan.send_with_current_time);
        let facts = &account.facts;
        let is_test = account.deliveries.iter().any(|delivery| telling::is_test(delivery));
        let owners = if is_test { Vec::new() } else { account.owners(&plan.around.owners) };
        let mut teams: Vec<&str> = Vec::new();
        owners.iter().for_each(|owner| once(&mut teams, &*owner.team));
        let words = |word: fn(&EventFacts) -> &String| {
            let mut words = Vec::new();
            facts.iter().for_each(|fact| once(&mut words, word(fact).clone()));
            words
        };
        let mut gist = Self {
            title: title(account, when, context.replay, is_test),
            services: services(account, &owners, plan),
            tags: Vec::new(),
            flipt: None,
            links: Vec::new(),
            author: account.doer.as_ref().map(called),
            edits: edits(account),
            notes: notes(account, when),
            values: values(&account.story.rows),
            types: words(|fact| &fact.noun),
            actions: words(|fact| &fact.action),
            is_late: facts.iter().any(|fact| fact.is_late) || matches!(when, When::TooOld(_)),
            is_replay: context.replay,
            account,
            when,
            teams,
        };
        if is_test {
            let told = Told::Sentence(SENT_BY.to_owned());
            gist.edits =
                vec![Edit { at: clock(account.first_at), told, knows_before: false, is_deletion: false }];
            gist.values = Default::default();
            gist.tags = tags::of_test(&gist, plan);
            return gist;
        }
        gist.tags = tags::of(&gist, plan, facts);
        gist.link(plan, links);
        gist
    }

    /// Where more can be seen.
    fn link(&mut self, plan: &DatadogPlan, links: &Links) {
        self.flipt = links.flipt(self.account);
        self.links = links.of(self.account);
        // A link of that name that somebody wrote takes its place.
        let is_new =
            |link: &Link| !self.links.iter().any(|other| other.title.eq_ignore_ascii_case(&link.title));
        let rum = rum(self.account.subject.as_ref(), plan.site).filter(is_new);
        self.links.extend(rum);
    }
}

fn title(account: &Account<'_>, when: When, is_replay: bool, is_test: bool) -> String {
    let prefix = if is_replay { ONCE_MORE } else { "" };
    let suffix = when.suffix();
    let headline = if is_test { TEST.to_owned() } else { quiet(&account.story.headline.to_string()) };
    let room = MAX_TITLE - prefix.chars().count() - suffix.chars().count();
    format!("{prefix}{}{suffix}", cut(&headline, room))
}

fn once<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if !all.contains(&one) {
        all.push(one);
    }
}

/// The services that a change concerns: those of its owners, else those of the destination.
fn services(account: &Account<'_>, owners: &[&Owner], plan: &DatadogPlan) -> Vec<String> {
    let mut services = Vec::new();
    if account.nature != Nature::Change {
        return services;
    }
    for named in owners.iter().flat_map(|owner| &owner.services).filter_map(|named| service(named)) {
        once(&mut services, named);
    }
    if services.is_empty() {
        plan.services.iter().filter_map(|named| service(named)).for_each(|named| once(&mut services, named));
    }
    services.truncate(MOST_SERVICES);
    services
}

/// `Ann (ann@example.com)`.
fn called(doer: &Doer) -> String {
    match &doer.email {
        Some(email) if *email != doer.said => format!("{} ({email})", doer.said),
        _ => doer.said.clone(),
    }
}

fn edits(account: &Account<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    // Of what is no event, no facts are told, and it stands alone.
    for (at, delivery) in account.deliveries.iter().enumerate() {
        let fact = account.facts.get(at);
        let record = &delivery.record;
        let at = clock(record.event_time.unwrap_or(record.accepted_at));
        let (knows_before, is_deletion) = knowledge(fact);
        let edit = |told| Edit { at: at.clone(), told, knows_before, is_deletion };
        let story = story(std::slice::from_ref(*delivery));
        if story.rows.is_empty() {
            edits.push(edit(Told::Sentence(story.headline.to_string())));
        } else {
            edits.extend(story.rows.into_iter().map(|row| edit(Told::Row(row))));
        }
    }
    edits
}

fn notes(account: &Account<'_>, when: When) -> Vec<String> {
    let mut notes = Vec::new();
    let named = account.flags_of_segment();
    if let Some(flags) = account.used_by.as_ref().filter(|_| !named.is_empty()) {
        let shown: Vec<String> = named.iter().map(|flag| one_line(flag, 80)).collect();
        let more = (flags.count as usize).saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        notes.push(format!("Used by {}{more}", shown.join(", ")));
    }
    notes.extend(when.note());
    notes
}

/// RUM sessions in which the flag was evaluated. Datadog does not take some characters in the names of flags
/// there; its documentation has people replace them, as is done here with an underscore
/// (<https://docs.datadoghq.com/real_user_monitoring/feature_flag_tracking/setup/>).
fn rum(subject: Option<&Subject>, site: &str) -> Option<Link> {
    let subject = subject.filter(|subject| subject.kind == EntityKind::Flag)?;
    let safe = |character: char| if character.is_alphanumeric() { character } else { '_' };
    let key = subject.key.as_deref().filter(|key| key.len() <= MAX_ADDRESS)?;
    let key: String = key.chars().map(safe).collect();
    let query = links::value(&format!("@feature_flags.{key}:*"));
    let url = format!("{}/rum/sessions?query={query}", app(site));
    (url.len() <= MAX_ADDRESS).then(|| Link { title: "RUM sessions".to_owned(), url })
}

/// Where people see a site (<https://docs.datadoghq.com/getting_started/site/>).
pub(super) fn app(site: &str) -> String {
    match site {
        "datadoghq.com" | "datadoghq.eu" | "ddog-gov.com" => format!("https://app.{site}"),
        site => format!("https://{site}"),
    }
}

pub(super) const fn record_word(kind: RecordKind) -> &'static str {
    match kind {
        // An event that cannot be read any more.
        RecordKind::Event => "unreadable",
        other => other.as_str(),
    }
}

/// When it was first accepted.
pub(super) fn received_at(account: &Account<'_>) -> Timestamp {
    let accepted = account.deliveries.iter().map(|delivery| delivery.record.accepted_at);
    accepted.min().unwrap_or(account.first_at)
}

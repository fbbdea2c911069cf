//! The first line of a message of several: how many of what, where and by whom; nothing that some of them are not.

use std::time::Duration;

use super::message::{Span, named, said};
use super::mrkdwn::Line;
use super::ranks::{Identity, Ranks, identity};
use crate::destination::telling::{Account, Doer, Nature, Tone};
use crate::event::EntityKind;
use crate::event::text::{one_line, thousands};
use crate::flipt::ActorKind;

/// Actors and environments that are named, …
const MOST_PEOPLE: usize = 3;
/// … and flags.
const MOST_FLAGS: usize = 3;
/// Characters of a key or an environment.
const NAME: usize = 80;

/// `37 changes in production in 4 min by Terraform CI · 31 flags · checkout, search-ranking and 29 more`.
pub(super) fn summary(all: &[&Account<'_>], ranks: &Ranks<'_>, is_long: bool) -> Line {
    let (by_people, records): (Vec<&Account<'_>>, Vec<&Account<'_>>) =
        all.iter().copied().partition(|account| account.nature != Nature::Record);
    let (told, others) = if by_people.is_empty() { (records, by_people) } else { (by_people, records) };
    let mut line = Line::default();
    line.emoji("📦").emoji(" ").bold(&Numbers::of(&told).said());
    places(&mut line, &told);
    if is_long && let Some(span) = Span::of(&told).filter(|span| span.length() >= Duration::from_secs(60)) {
        line.plain(&format!(" in {}", said(span.length())));
    }
    let (several, single) = doers(&told);
    list(&mut line, " by ", &[several.as_slice(), &single].concat(), several.len());
    // What nobody did to a flag is neither there nor by them.
    if !others.is_empty() {
        line.plain(&format!(" · and {}", Numbers::of(&others).said()));
    }
    let keys = subjects(all, ranks);
    if keys.len() > MOST_FLAGS + 1
        && let Some(noun) = noun(all)
    {
        line.plain(&format!(" · {} {noun}", thousands(keys.len())));
    }
    if !keys.is_empty() {
        line.plain(&format!(" · {}", named(&keys, keys.len(), MOST_FLAGS)));
    }
    line
}

/// Where all of them are: environments, and namespaces of what is in none; nothing where one of them is nowhere.
fn places(line: &mut Line, told: &[&Account<'_>]) {
    let (mut environments, mut namespaces) = (Vec::new(), Vec::new());
    for account in told {
        let namespace = account.subject.as_ref().and_then(|subject| subject.namespace.known());
        match (account.environment.as_deref(), namespace) {
            (Some(environment), _) => push(&mut environments, one_line(environment, NAME)),
            (None, Some(namespace)) => push(&mut namespaces, one_line(namespace, NAME)),
            (None, None) => return,
        }
    }
    list(line, " in ", &environments, 0);
    let noun = if namespaces.len() > 1 { "namespaces" } else { "namespace" };
    let lead = if environments.is_empty() { format!(" in {noun} ") } else { format!(" and in {noun} ") };
    list(line, &lead, &namespaces, 0);
}

/// Who did it, each actor once, names of several actors apart; nothing where that is not known of all.
fn doers(told: &[&Account<'_>]) -> (Vec<String>, Vec<String>) {
    let mut doers: Vec<(&Doer, usize)> = Vec::new();
    for account in told {
        let Some(doer) = &account.doer else { return Default::default() };
        match doers.iter_mut().find(|(other, _)| other.said == doer.said) {
            // One name, and another actor.
            Some((first, number)) if first.mark != doer.mark || !doer.is_named() => *number += 1,
            Some(_) => {}
            None => doers.push((doer, 1)),
        }
    }
    let said = |(doer, number): (&Doer, usize)| match number {
        1 => doer.said.clone(),
        _ if !doer.is_named() => doer.kind_unnamed().to_owned(),
        _ => {
            let marks = told.iter().filter_map(|account| account.doer.as_ref());
            let mut marks: Vec<u64> =
                marks.filter(|other| other.said == doer.said).map(|other| other.mark).collect();
            marks.sort_unstable();
            marks.dedup();
            let noun = if doer.kind == ActorKind::Person { "people" } else { "actors" };
            format!("{} {noun} named {}", thousands(marks.len()), doer.said)
        }
    };
    let (several, single): (Vec<_>, Vec<_>) = doers.into_iter().partition(|(_, number)| *number > 1);
    (several.into_iter().map(said).collect(), single.into_iter().map(said).collect())
}

/// ` by *Ann*, *Ben* and 2 more`; the first `several` of them are more than one each.
fn list(line: &mut Line, lead: &str, items: &[String], several: usize) {
    let shown = if items.len() == MOST_PEOPLE + 1 { items.len() } else { items.len().min(MOST_PEOPLE) };
    let more = items.len() - shown;
    for (at, item) in items[..shown].iter().enumerate() {
        let is_last = at + 1 == shown && more == 0;
        line.plain(match at {
            0 => lead,
            _ if is_last => " and ",
            _ => ", ",
        });
        line.bold(item);
    }
    match more {
        0 => {}
        _ if several > shown => drop(line.plain(" and others")),
        more => drop(line.plain(&format!(" and {} more", thousands(more)))),
    }
}

/// What all of them are, where there is a word for it.
fn noun(all: &[&Account<'_>]) -> Option<&'static str> {
    let kinds: Vec<EntityKind> =
        all.iter().filter_map(|account| account.subject.as_ref()).map(|subject| subject.kind).collect();
    let are = |kind| kinds.iter().all(|other| *other == kind);
    match () {
        () if are(EntityKind::Flag) => Some("flags"),
        () if are(EntityKind::Segment) => Some("segments"),
        () => None,
    }
}

/// The keys of what accounts are about, the most important first, each once.
pub(super) fn subjects(all: &[&Account<'_>], ranks: &Ranks<'_>) -> Vec<String> {
    let mut sorted = all.to_vec();
    sorted.sort_by_key(|account| ranks.weight(account));
    let mut seen: Vec<Identity<'_>> = Vec::new();
    let mut keys = Vec::new();
    for subject in sorted.iter().filter_map(|account| account.subject.as_ref()) {
        let identity = identity(subject);
        let is_new = !seen.contains(&identity);
        if let Some(key) = subject.key.as_deref().filter(|_| is_new) {
            seen.push(identity);
            keys.push(one_line(key, NAME));
        }
    }
    keys
}

fn push(items: &mut Vec<String>, item: String) {
    if !items.contains(&item) {
        items.push(item);
    }
}

/// How many of what: changes, refused attempts, warnings and acts.
pub(super) struct Numbers([usize; 4]);

const NOUNS: [(&str, &str); 4] = [
    ("change", "changes"),
    ("refused attempt", "refused attempts"),
    ("warning", "warnings"),
    ("act of an operator", "acts of operators"),
];

impl Numbers {
    pub(super) fn of(accounts: &[&Account<'_>]) -> Self {
        let mut numbers = [0; 4];
        for account in accounts {
            match account.nature {
                Nature::Change => numbers[0] += 1,
                Nature::Denied => numbers[1] += account.deliveries.len(),
                Nature::Record if account.story.headline.tone == Tone::Warning => numbers[2] += 1,
                Nature::Record => numbers[3] += 1,
            }
        }
        Self(numbers)
    }

    /// What is left without others.
    pub(super) fn less(&self, others: &Self) -> Self {
        let mut numbers = self.0;
        numbers.iter_mut().zip(others.0).for_each(|(number, other)| *number = number.saturating_sub(other));
        Self(numbers)
    }

    /// `2 changes, 4 refused attempts and 1 warning`.
    pub(super) fn said(&self) -> String {
        self.beside(&Self([0; 4]))
    }

    /// `2 more changes and 1 warning`, where changes are told already.
    pub(super) fn beside(&self, told: &Self) -> String {
        let said = |((number, told), (one, many)): ((&usize, &usize), &(&str, &str))| {
            let more = if *told > 0 { "more " } else { "" };
            let noun = if *number == 1 { one } else { many };
            (*number > 0).then(|| format!("{} {more}{noun}", thousands(*number)))
        };
        let said: Vec<String> = self.0.iter().zip(&told.0).zip(&NOUNS).filter_map(said).collect();
        named(&said, said.len(), said.len())
    }
}

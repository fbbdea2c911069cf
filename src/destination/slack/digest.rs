//! Several accounts in one message: what matters most first, and whatever has no room counted and named.

use super::message::{Message, RESERVE, Teller, joined, named, with_rows, words};
use super::mrkdwn::Line;
use super::ranks::{Identity, Ranks, identity, is_gap};
use super::summary::{Numbers, subjects, summary};
use crate::destination::telling::{Account, Nature};
use crate::event::RecordKind;

/// Up to here every account is told with its rows; of more, the most important have a line.
const FEW: usize = 5;
/// Rows of one account in a message of several.
const MOST_ROWS: usize = 3;
/// Lines of a message of many, …
const MOST_LINES: usize = 8;
/// … and of these, of one actor and flag.
const LINES_OF_ONE: usize = 3;
/// Flags that have no line, and are named.
const MOST_OTHERS: usize = 10;

/// Accounts of one actor and one flag, or of records alike.
struct Group<'a, 'b> {
    key: Key<'b>,
    accounts: Vec<&'b Account<'a>>,
}

#[derive(PartialEq)]
enum Key<'b> {
    Same(u64, Identity<'b>),
    Records(RecordKind, &'b str),
    Alone,
}

impl Teller<'_> {
    /// A message of several accounts.
    pub(super) fn digest(&self, accounts: &[Account<'_>]) -> Message {
        let ranks = Ranks::of(accounts, self.is_replay);
        let groups = groups(accounts, &ranks);
        let all: Vec<&Account<'_>> = accounts.iter().collect();
        let is_few = all.len() <= FEW;
        let has_changes = all.iter().any(|account| account.nature == Nature::Change);
        let leads = |lead: &&&Account<'_>| {
            ranks.leads(lead) || is_gap(lead) || (lead.nature == Nature::Record && !has_changes)
        };
        let lead = groups.first().and_then(|group| group.accounts.first()).filter(leads);
        let summary = summary(&all, &ranks, !is_few);
        let first = match lead {
            Some(lead) => {
                let mut line = self.headline(lead);
                let others: Vec<_> =
                    all.iter().copied().filter(|other| !std::ptr::eq(*other, *lead)).collect();
                let others = Numbers::of(&others).beside(&Numbers::of(&[*lead]));
                line.plain(&format!(" · and {others}"));
                self.first(line)
            }
            None => self.first(summary.clone()),
        };
        let mut message = Message::about(&first);
        let untold = match is_few {
            true => self.whole(&mut message, &groups, &first, lead.is_some()),
            false => {
                message.tell(std::slice::from_ref(&first), 0);
                if lead.is_some() && has_changes {
                    message.tell(&[summary], RESERVE);
                }
                message.part();
                self.short(&mut message, &groups, lead.is_some())
            }
        };
        if !untold.is_empty() {
            let keys = subjects(&untold, &ranks);
            let names = named(&keys, keys.len(), MOST_OTHERS);
            let colon = if names.is_empty() { "" } else { ": " };
            let numbers = Numbers::of(&untold);
            let numbers = numbers.beside(&Numbers::of(&all).less(&numbers));
            message.rest(&words(&format!("… and {numbers}{colon}{names}")));
        }
        if !is_few {
            message.small(&self.small_of_all(&all));
        }
        message
    }

    /// Every account with what changed, and small print for each group; what had no room is left.
    fn whole<'a, 'b>(
        &self,
        message: &mut Message,
        groups: &[Group<'a, 'b>],
        first: &Line,
        is_led: bool,
    ) -> Vec<&'b Account<'a>> {
        if !is_led {
            message.tell(std::slice::from_ref(first), 0);
        }
        let mut untold = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            message.part();
            let mut told = 0;
            for account in &group.accounts {
                let is_first = is_led && at == 0 && told == 0;
                let line = if is_first { first.clone() } else { self.headline(account) };
                // The order is that of importance: after the first that has no room, none is told.
                if !untold.is_empty() || !message.tell(&with_rows(line, account, MOST_ROWS), RESERVE) {
                    untold.push(*account);
                    continue;
                }
                told += 1;
            }
            message.small(&self.small(&group.accounts[..told]));
        }
        untold
    }

    /// A few lines of the most important groups; what has none is left.
    fn short<'a, 'b>(
        &self,
        message: &mut Message,
        groups: &[Group<'a, 'b>],
        is_led: bool,
    ) -> Vec<&'b Account<'a>> {
        let mut shown = 0;
        for (at, group) in groups.iter().enumerate() {
            // The first line has told the lead already.
            let lines = self.lines_of(group, is_led && at == 0);
            shown += lines.len();
            // All of a group or nothing: its last line counts its others.
            if shown > MOST_LINES || !message.has_room(&lines, RESERVE) {
                let untold = groups[at..].iter().flat_map(|group| group.accounts.iter().copied());
                return untold.skip(usize::from(is_led && at == 0)).collect();
            }
            for line in &lines {
                message.tell(std::slice::from_ref(line), RESERVE);
            }
        }
        Vec::new()
    }

    /// A few lines of a group; records that say the same are told once.
    fn lines_of(&self, group: &Group<'_, '_>, is_led: bool) -> Vec<Line> {
        let mut accounts: Vec<&Account<'_>> = group.accounts.clone();
        let mut said = Vec::new();
        if matches!(group.key, Key::Records(..)) {
            accounts.retain(|account| {
                let headline = &account.story.headline;
                let is_new = !said.contains(&headline);
                said.extend(is_new.then_some(headline));
                is_new
            });
        }
        let told = accounts.len().min(LINES_OF_ONE + usize::from(is_led));
        let lines = accounts[..told].iter().skip(usize::from(is_led)).map(|account| self.headline(account));
        let mut lines: Vec<Line> = lines.collect();
        let rest = group.accounts.len() - told;
        if rest > 0 && !(is_led && matches!(group.key, Key::Records(..)) && lines.is_empty()) {
            // Of a group, one number is as good as another.
            let numbers = Numbers::of(&group.accounts[group.accounts.len() - rest..]);
            let numbers = numbers.beside(&numbers);
            let like = if matches!(group.key, Key::Records(..)) { " like these" } else { "" };
            lines.push(words(&format!("and {numbers}{like}")));
        }
        lines
    }

    /// The small print of many: whose they are, and when.
    fn small_of_all(&self, all: &[&Account<'_>]) -> Line {
        let teams = self.teams(all);
        let teams = (!teams.is_empty()).then(|| words(&named(&teams, teams.len(), FEW)));
        joined(teams.into_iter().chain(self.times(all)))
    }
}

/// Accounts by actor and flag, the most important first; of each group the most important one, then the others as
/// they happened.
fn groups<'a, 'b>(accounts: &'b [Account<'a>], ranks: &Ranks<'b>) -> Vec<Group<'a, 'b>> {
    let mut groups: Vec<Group<'a, 'b>> = Vec::new();
    for account in accounts {
        let key = key(account);
        match groups.iter_mut().find(|group| key != Key::Alone && group.key == key) {
            Some(group) => group.accounts.push(account),
            None => groups.push(Group { key, accounts: vec![account] }),
        }
    }
    for group in &mut groups {
        group.accounts.sort_by_key(|account| account.first_sequence());
        if let Some(urgent) = group.accounts.iter().rposition(|account| ranks.leads(account)) {
            group.accounts[..=urgent].rotate_right(1);
        }
    }
    groups.sort_by_key(|group| group.accounts.iter().map(|account| ranks.weight(account)).min());
    groups
}

fn key<'b>(account: &'b Account<'_>) -> Key<'b> {
    match (account.nature, &account.doer, &account.subject, account.deliveries.first()) {
        (Nature::Change, Some(doer), Some(subject), _) if subject.key.is_some() => {
            Key::Same(doer.mark, identity(subject))
        }
        (Nature::Record, .., Some(first)) => Key::Records(first.record.kind, &first.record.source),
        _ => Key::Alone,
    }
}

//! What matters how much, of the accounts of one message.

use std::collections::HashMap;

use crate::destination::telling::{Account, Nature, Subject, Tone};
use crate::event::{EntityKind, Namespace, RecordKind};

/// What makes two subjects one; what people call it may have changed meanwhile.
pub(super) type Identity<'b> = (EntityKind, Option<&'b str>, &'b Namespace, &'b str);

pub(super) fn identity(subject: &Subject) -> Identity<'_> {
    (subject.kind, subject.key.as_deref(), &subject.namespace, &subject.instance)
}

/// Ranks accounts of one message by what else the message tells.
pub(super) struct Ranks<'b> {
    /// Nothing of a replay is news.
    is_replay: bool,
    latest: HashMap<Identity<'b>, Latest>,
}

/// Where in the journal the last account begins …
#[derive(Default)]
struct Latest {
    /// … that turned a flag on, …
    on: u64,
    /// … and that told anything that is not late.
    any: u64,
}

impl<'b> Ranks<'b> {
    pub(super) fn of(accounts: &'b [Account<'_>], is_replay: bool) -> Self {
        let mut latest: HashMap<Identity<'b>, Latest> = HashMap::new();
        for account in accounts {
            let Some(subject) = &account.subject else { continue };
            let latest = latest.entry(identity(subject)).or_default();
            let (tone, at) = (account.story.headline.tone, account.first_sequence());
            if tone == Tone::On {
                latest.on = latest.on.max(at);
            }
            if tone != Tone::Late {
                latest.any = latest.any.max(at);
            }
        }
        Self { is_replay, latest }
    }

    /// Whether it is what the message is about, whatever else it tells.
    pub(super) fn leads(&self, account: &Account<'_>) -> bool {
        !self.is_replay && is_urgent(account) && !self.is_overtaken(account)
    }

    /// Whether what an urgent account tells is so no more: the flag was turned on again, or is there again.
    fn is_overtaken(&self, urgent: &Account<'_>) -> bool {
        let subject = urgent.subject.as_ref();
        let Some(latest) = subject.and_then(|subject| self.latest.get(&identity(subject))) else {
            return false;
        };
        let was_deleted = urgent.story.headline.tone == Tone::Deleted;
        urgent.last_sequence() < if was_deleted { latest.any } else { latest.on }
    }

    /// How far down in a message something stands.
    pub(super) fn weight(&self, account: &Account<'_>) -> u8 {
        let concerns_nobody = account.live == Some(false);
        match account.story.headline.tone {
            _ if self.leads(account) => 0,
            _ if is_gap(account) => 1,
            // Beside what overtook it, in the order in which it happened.
            _ if !self.is_replay && is_urgent(account) => 2,
            Tone::On => 2,
            Tone::Rollout | Tone::Split | Tone::Segment if !concerns_nobody => 3,
            Tone::Access | Tone::Denied | Tone::Warning => 4,
            Tone::Off | Tone::Deleted => 5,
            Tone::Rollout | Tone::Split | Tone::Segment | Tone::Other => 6,
            Tone::Late => 7,
            Tone::Text => 8,
        }
    }
}

/// Whether a live flag was turned off or deleted, or what else was deleted that people got something by: a
/// segment in use, a namespace with all that was in it.
fn is_urgent(account: &Account<'_>) -> bool {
    let is_flag = account.kinds.contains(&EntityKind::Flag) && account.live != Some(false);
    account.nature == Nature::Change
        && match account.story.headline.tone {
            Tone::Off => is_flag,
            Tone::Deleted => is_flag || account.live == Some(true) || account.is_forced,
            _ => false,
        }
}

/// Whether it says that events may be missing.
pub(super) fn is_gap(account: &Account<'_>) -> bool {
    account.deliveries.iter().any(|delivery| delivery.record.kind == RecordKind::Gap)
}

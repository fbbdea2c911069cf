//! One account as people in a channel read it: a line that says it all, what changed, and where to see more.

use std::time::Duration;

use serde_json::{Value, json};

use super::mrkdwn::{Line, width};
use crate::destination::links::{Link, Links};
use crate::destination::telling::{Account, Nature, Role, Row, Tone};
use crate::event::Timestamp;
use crate::event::text::{one_line, thousands};
use crate::routing::Owners;

/// Characters of a section's text (Slack allows 3,000) …
const SECTION: usize = 2_900;
/// … of all blocks together: beyond some 13,000 Slack answers `msg_blocks_too_long` …
const ALL_BLOCKS: usize = 10_000;
/// … and of the text that notifications show.
const NOTIFICATION: usize = 3_000;
/// Characters of a line in small print, …
const SMALL: usize = 1_500;
/// … and of the one that names what had no room.
const REST: usize = 1_000;
/// What stays free for these two.
pub(super) const RESERVE: usize = SMALL + REST;
/// Less room than this is none.
const SHORTEST: usize = 20;
/// Rows that are told; more are counted.
const MOST_ROWS: usize = 5;
/// What a replay says of itself.
const REPLAY: &str = "Told once more: ";
/// What a test says of itself.
const TEST: &str = "A test of audit-relay: nothing was changed";
/// Told later than this after it happened, a message says so.
const LATE: Duration = Duration::from_secs(3_600);
/// Teams and links that are named.
const MOST_NAMED: usize = 5;
/// Characters of a team, a channel or the title of a link.
const NAME: usize = 80;

/// What a message is told with.
pub(super) struct Teller<'a> {
    pub(super) owners: &'a Owners,
    pub(super) links: &'a Links,
    pub(super) now: Timestamp,
    /// Whether a person asked for it once more.
    pub(super) is_replay: bool,
}

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// What notifications show, and programs that know no blocks.
    pub(super) text: String,
    pub(super) blocks: Vec<Value>,
    used: usize,
    /// Whether the last block is a section that takes further lines.
    is_open: bool,
}

impl Message {
    pub(super) fn about(first: &Line) -> Self {
        Self { text: first.text(NOTIFICATION), ..Self::default() }
    }

    /// Adds lines that belong together, in the section before while there is room in it; not if they leave less
    /// than `reserve` of the message. The first ones always have room.
    pub(super) fn tell(&mut self, more: &[Line], reserve: usize) -> bool {
        let text = lines(more, SECTION);
        let needed = width(&text) + 1;
        let has_room = self.used == 0 || self.used + needed + reserve <= ALL_BLOCKS;
        if has_room && !text.is_empty() {
            self.used += needed;
            let open =
                self.blocks.last_mut().filter(|_| self.is_open).map(|block| &mut block["text"]["text"]);
            let joined = open.as_deref().and_then(Value::as_str).map(|before| format!("{before}\n{text}"));
            match (open, joined.filter(|joined| width(joined) <= SECTION)) {
                (Some(open), Some(joined)) => *open = joined.into(),
                _ => self.blocks.push(json!({"type": "section", "text": mrkdwn(text)})),
            }
            self.is_open = true;
        }
        has_room
    }

    /// Whether all of these lines have room that leaves as much as `reserve`.
    pub(super) fn has_room(&self, more: &[Line], reserve: usize) -> bool {
        let needed = more.iter().map(|line| width(&line.markup(SECTION)) + 1).sum::<usize>();
        self.used + needed + reserve <= ALL_BLOCKS
    }

    /// What comes next has a section of its own.
    pub(super) fn part(&mut self) {
        self.is_open = false;
    }

    /// Small print beneath what was told.
    pub(super) fn small(&mut self, line: &Line) {
        let text = line.markup(SMALL);
        if !text.is_empty() {
            self.used += width(&text);
            self.is_open = false;
            self.blocks.push(json!({"type": "context", "elements": [mrkdwn(text)]}));
        }
    }

    /// What had no room: the number stands first, so that names are cut.
    pub(super) fn rest(&mut self, line: &Line) {
        let text = line.markup(REST);
        self.used += width(&text);
        self.is_open = false;
        self.blocks.push(json!({"type": "section", "text": mrkdwn(text)}));
    }
}

fn mrkdwn(text: String) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// Lines beneath one another, in so much room; what has none is left out with a mark.
fn lines(lines: &[Line], room: usize) -> String {
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        // So much that a mark on a line of its own always fits.
        let left = room.saturating_sub(width(&text) + 3);
        if at > 0 && left < SHORTEST {
            text.push_str("\n…");
            break;
        }
        if at > 0 {
            text.push('\n');
        }
        text.push_str(&line.markup(left));
    }
    text
}

impl Teller<'_> {
    /// One account, which is all there is.
    pub(super) fn one(&self, account: &Account<'_>) -> Message {
        let first = self.first(self.headline(account));
        let mut message = Message::about(&first);
        if account.is_test() {
            message.tell(&[first], 0);
            message.small(&joined(self.times(&[account])));
            return message;
        }
        message.tell(&with_rows(first, account, MOST_ROWS), 0);
        message.small(&self.small(&[account]));
        message
    }

    /// The first line of a message; of a replay, it says so before all else.
    pub(super) fn first(&self, line: Line) -> Line {
        if !self.is_replay {
            return line;
        }
        let mut first = Line::default();
        first.emoji("🔁").emoji(" ").plain(REPLAY).append(line.without_emoji());
        first
    }

    /// What happened, in a line.
    pub(super) fn headline(&self, account: &Account<'_>) -> Line {
        let mut line = Line::default();
        line.emoji(account.emoji()).emoji(" ");
        if account.is_test() {
            line.plain(TEST);
            return line;
        }
        let page = self.page(account);
        for (role, piece) in &account.story.headline.pieces {
            match (role, &page) {
                (Role::Plain, _) => line.plain(piece),
                (Role::Subject, Some(page)) => line.link(&page.url, piece, true),
                _ => line.bold(piece),
            };
        }
        if account.nature == Nature::Denied && account.deliveries.len() > 1 {
            line.plain(" · since ").date(account.first_at, self.now);
        }
        line
    }

    /// Where Flipt shows it, if it is there.
    fn page(&self, account: &Account<'_>) -> Option<Link> {
        self.links.flipt(account)
    }

    /// In small print, of accounts of one thing: what people call it, whose it is, where to see more, and when.
    pub(super) fn small(&self, accounts: &[&Account<'_>]) -> Line {
        let mut parts: Vec<Line> = Vec::new();
        let Some(first) = accounts.first() else { return Line::default() };
        if let Some(subject) = &first.subject {
            let is_said = |name: &str| {
                let is_key = subject.key.as_deref().is_some_and(|key| key.eq_ignore_ascii_case(name));
                is_key || first.story.headline.to_string().contains(name)
            };
            parts.extend(subject.name.as_deref().filter(|name| !is_said(name)).map(words));
            let teams = self.teams(accounts);
            parts.extend((!teams.is_empty()).then(|| words(&named(&teams, teams.len(), MOST_NAMED))));
        }
        parts.extend(self.further(first));
        parts.extend(self.times(accounts));
        joined(parts)
    }

    /// Links beside the one that the headline has.
    fn further(&self, account: &Account<'_>) -> Vec<Line> {
        let has_subject = account.story.headline.pieces.iter().any(|(role, _)| *role == Role::Subject);
        let page = self.links.flipt(account).filter(|_| has_subject);
        let further = self.links.of(account).into_iter().filter(|link| Some(link) != page.as_ref());
        let line = |link: Link| {
            let mut line = Line::default();
            line.link(&link.url, &one_line(&link.title, NAME), false);
            line
        };
        further.take(MOST_NAMED).map(line).collect()
    }

    /// When, and in how many edits.
    pub(super) fn times(&self, accounts: &[&Account<'_>]) -> Vec<Line> {
        let Some(span) = Span::of(accounts) else { return Vec::new() };
        let mut when = Line::default();
        let mut parts = Vec::new();
        match accounts {
            // Its headline says since when.
            [denied] if denied.nature == Nature::Denied && denied.deliveries.len() > 1 => {}
            [only] => drop(when.date(only.effect_at, self.now)),
            _ if span.length() < Duration::from_secs(60) => drop(when.date(span.from, self.now)),
            _ => drop(when.date(span.from, self.now).plain(" to ").date(span.to, self.now)),
        }
        parts.extend((!when.is_empty()).then_some(when));
        let are_changes = accounts.iter().all(|account| account.nature == Nature::Change);
        let edits: usize = accounts.iter().map(|account| account.deliveries.len()).sum();
        if are_changes && edits > accounts.len() {
            parts.push(words(&match span.length() {
                Duration::ZERO => format!("{} edits", thousands(edits)),
                length => format!("{} edits in {}", thousands(edits), said(length)),
            }));
        }
        let told_late = self.told_late(accounts);
        if told_late.is_some() {
            parts.extend(told_late);
        } else if let [only] = accounts
            && only.story.headline.tone == Tone::Late
            && let Some(last) = only.deliveries.last()
        {
            let late = last.record.accepted_at.since(only.last_at);
            parts.extend((late >= Duration::from_secs(1)).then(|| words(&format!("{} late", said(late)))));
        }
        parts
    }

    /// `told 3 h late`: how long after it happened this goes out. Refused attempts wait for others of their kind.
    fn told_late(&self, accounts: &[&Account<'_>]) -> Option<Line> {
        let times = accounts.iter().filter_map(|account| match account.nature {
            Nature::Change => Some(account.effect_at),
            Nature::Denied => Some(account.last_at),
            Nature::Record => None,
        });
        let late = self.now.since(times.min()?);
        if self.is_replay || late <= LATE {
            return None;
        }
        let most = if accounts.len() > 1 { "up to " } else { "" };
        Some(words(&format!("told {most}{} late", said(late))))
    }

    /// The teams of what accounts are about, each once, with their channels.
    pub(super) fn teams(&self, accounts: &[&Account<'_>]) -> Vec<String> {
        let mut teams: Vec<String> = Vec::new();
        for account in accounts {
            for owner in account.owners(self.owners) {
                let team = one_line(&owner.team, NAME);
                let team = match owner.slack.as_deref().map(|channel| one_line(channel, NAME)) {
                    Some(channel) => format!("{team} ({channel})"),
                    None => team,
                };
                if !teams.contains(&team) {
                    teams.push(team);
                }
            }
        }
        teams
    }
}

/// From the first event to the last.
pub(super) struct Span {
    from: Timestamp,
    to: Timestamp,
}

impl Span {
    pub(super) fn of(accounts: &[&Account<'_>]) -> Option<Self> {
        let from = accounts.iter().map(|account| account.first_at).min()?;
        Some(Self { from, to: accounts.iter().map(|account| account.last_at).max()? })
    }

    pub(super) fn length(&self) -> Duration {
        Duration::from_secs(self.to.since(self.from).as_secs())
    }
}

/// A line, and beneath it what changed, old and new; nothing more where the headline says the only row already.
pub(super) fn with_rows(first: Line, account: &Account<'_>, most: usize) -> Vec<Line> {
    let story = &account.story;
    let rows: Vec<&Row> = story.rows.iter().filter(|row| !row.is_raw).collect();
    if let [only] = story.rows.as_slice()
        && (only.is_raw || is_said(only, &story.headline.to_string()))
    {
        return vec![first];
    }
    // For the number of the others.
    let mut left = SECTION.saturating_sub(width(&first.markup(SECTION)) + 2 * SHORTEST);
    let mut lines = vec![first];
    for row in rows.iter().take(most) {
        let line = self::row(row);
        let needed = width(&line.markup(SECTION)) + 1;
        if needed > left {
            break;
        }
        left -= needed;
        lines.push(line);
    }
    // JSON is not shown, but counted.
    let more = story.rows.len() + 1 - lines.len();
    lines.extend((more > 0).then(|| words(&format!("and {} more", thousands(more)))));
    lines
}

/// What the headline of one effect always says, in words of its own.
const ALWAYS_SAID: [&str; 5] = ["Enabled", "Protected", "Rollout", "Split", "Must match"];

/// Whether a line says all of the only row.
fn is_said(row: &Row, headline: &str) -> bool {
    let headline = headline.to_lowercase();
    ALWAYS_SAID.contains(&&*row.label)
        || headline.contains(" → ")
        || row.old.iter().chain(&row.new).all(|side| headline.contains(&side.to_lowercase()))
}

/// `Rollout   10 % → *50 %* of everyone gets true`.
fn row(row: &Row) -> Line {
    let mut line = Line::default();
    line.plain(&format!("{}   ", row.label));
    if let Some(old) = &row.old {
        line.plain(old).plain(" → ");
    }
    let new = row.new.as_deref().unwrap_or("none");
    // Of a share, the number is what is new.
    match new.find(" of ").filter(|at| new[..*at].ends_with('%')) {
        Some(at) => line.bold(&new[..at]).plain(&new[at..]),
        None => line.bold(new),
    };
    line
}

pub(super) fn words(text: &str) -> Line {
    let mut line = Line::default();
    line.plain(text);
    line
}

/// `a · b · c`.
pub(super) fn joined(parts: impl IntoIterator<Item = Line>) -> Line {
    let mut line = Line::default();
    for part in parts {
        if !line.is_empty() {
            line.plain(" · ");
        }
        line.append(part);
    }
    line
}

/// `a, b and c`, `a, b and 4 more`; one more is better named than counted.
pub(super) fn named(items: &[String], total: usize, most: usize) -> String {
    let shown =
        if items.len() <= most + 1 && items.len() == total { items.len() } else { most.min(items.len()) };
    let more = total - shown;
    let mut said: Vec<String> = items[..shown].to_vec();
    said.extend((more > 0).then(|| format!("{} more", thousands(more))));
    match said.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, firsts)) => format!("{} and {last}", firsts.join(", ")),
    }
}

/// `18 s`, `1 min 52 s`, `4 min`, `3 h`, `2 d`.
pub(super) fn said(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..120 if !seconds.is_multiple_of(60) => format!("{} min {} s", seconds / 60, seconds % 60),
        60..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

//! Where two JSON objects differ, found on their own text: only what differs is opened.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;

use super::Difference;
use crate::event::RawText;
use crate::flipt::fields::{Fields, in_compact_form, items, number};
use crate::flipt::tokens::text;

/// No more differences of one change are told.
pub(crate) const MAX_DIFFERENCES: usize = 256;
/// Values that lie deeper are compared, and told, whole.
const MAX_DEPTH: usize = 32;

/// Where two states of an entity differ.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Differences {
    /// The places, at most [`MAX_DIFFERENCES`].
    pub(crate) list: Vec<Difference>,
    /// The fields that differ, all of them, sorted.
    pub(crate) fields: Vec<String>,
    /// Whether there are more than are told.
    pub(crate) more: bool,
}

/// Compares two states of one entity, but for some fields; a side that is absent has no fields.
pub(crate) fn compare(
    before: Option<&RawValue>,
    after: Option<&RawValue>,
    but: &[&str],
    limit: usize,
) -> Differences {
    let (before, after) = (fields(before), fields(after));
    let mut walk = Walk { list: Vec::new(), limit, more: false, met: false, strict: false };
    let mut fields = Vec::new();
    for (name, old, new) in pairs(&before, &after) {
        let is_unknown = match name {
            "segment_key" | "segment_operator" => are_segments_unknown(&before, &after),
            // What a family cannot tell any more.
            "rank" | "default_variant" => old.is_some_and(|old| old.get() == "null"),
            _ => false,
        };
        if is_unknown || but.contains(&name) {
            continue;
        }
        walk.met = false;
        match name {
            "attachment" => walk.attachment(old, new),
            _ => walk.entry("", name, old, new, 1),
        }
        if walk.met {
            fields.push(name.to_owned());
        }
    }
    Differences { list: walk.list, fields, more: walk.more }
}

fn fields(state: Option<&RawValue>) -> Fields<'_> {
    state.map(Fields::read).unwrap_or_default()
}

/// Whether nobody knows which segments a rule had, or whether they are the several that it has now.
fn are_segments_unknown(before: &Fields<'_>, after: &Fields<'_>) -> bool {
    let is_empty = |side: &Fields<'_>| side.raw("segment_key").is_some_and(is_unknown_segment);
    is_empty(before) || is_empty(after) && before.raw("segment_operator").is_some()
}

/// Flipt before 1.58.2 wrote an empty key where a rule or rollout has several segments.
fn is_unknown_segment(key: &RawValue) -> bool {
    key.get() == "\"\""
}

/// The entries of two objects side by side.
fn pairs<'f, 'a>(
    before: &'f Fields<'a>,
    after: &'f Fields<'a>,
) -> impl Iterator<Item = (&'f str, Option<&'a RawValue>, Option<&'a RawValue>)> {
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return None,
        };
        let old = if order.is_le() { old.next() } else { None };
        let new = if order.is_ge() { new.next() } else { None };
        let (name, _) = old.or(new)?;
        Some((&**name, old.map(|(_, value)| value), new.map(|(_, value)| value)))
    })
}

struct Walk {
    list: Vec<Difference>,
    limit: usize,
    more: bool,
    /// Whether a difference was met since this was last set back.
    met: bool,
    /// Inside of attachments, which are other people's data, `null` and nothing are not the same.
    strict: bool,
}

impl Walk {
    /// Whether nothing that is left to look at can change what is told.
    fn is_done(&self) -> bool {
        self.met && self.list.len() >= self.limit && self.more
    }

    fn tell(&mut self, pointer: String, old: Option<&RawValue>, new: Option<&RawValue>) {
        self.met = true;
        if self.list.len() >= self.limit {
            self.more = true;
            return;
        }
        let told =
            |value: Option<&RawValue>| value.filter(|value| self.strict || value.get() != "null").map(told);
        let (old, new) = (told(old), told(new));
        self.list.push(Difference { pointer, old, new });
    }

    fn entry(
        &mut self,
        parent: &str,
        name: &str,
        old: Option<&RawValue>,
        new: Option<&RawValue>,
        depth: usize,
    ) {
        let (old, new) = match (old, new) {
            (Some(old), Some(new)) => (old, new),
            (old, new) => {
                let said = old.or(new);
                if self.strict || said.is_some_and(|said| !says_nothing(said)) {
                    self.tell(joined(parent, name), old, new);
                }
                return;
            }
        };
        if old.get() == new.get() {
            return;
        }
        // As above, one level further down: the segment of a rollout.
        if !self.strict && name == "segment" && is_rollout_of_unknown_segments(old) {
            return self.unknown_segment(&joined(parent, name), old, new);
        }
        self.values(parent, name, old, new, depth);
    }

    fn values(&mut self, parent: &str, name: &str, old: &RawValue, new: &RawValue, depth: usize) {
        if old.get() == new.get() || self.is_done() {
            return;
        }
        if depth < MAX_DEPTH {
            if let (Some(old), Some(new)) = (Fields::try_read(old), Fields::try_read(new)) {
                let here = joined(parent, name);
                for (name, old, new) in pairs(&old, &new) {
                    self.entry(&here, name, old, new, depth + 1);
                }
                return;
            }
            if let (Some(olds), Some(news)) = (items(old), items(new))
                && let Some(matching) = Matching::of(&olds, &news)
            {
                return self.lists(&joined(parent, name), &olds, &news, &matching, depth);
            }
        }
        if !same(old, new, self.strict, depth) {
            self.tell(joined(parent, name), Some(old), Some(new));
        }
    }

    fn lists(&mut self, here: &str, olds: &[&RawValue], news: &[&RawValue], found: &Matching, depth: usize) {
        for (old_place, new_place) in &found.common {
            self.values(here, &old_place.to_string(), olds[*old_place], news[*new_place], depth + 1);
        }
        for place in &found.removed {
            self.tell(joined(here, &place.to_string()), Some(olds[*place]), None);
        }
        for place in &found.added {
            self.tell(joined(here, &place.to_string()), None, Some(news[*place]));
        }
    }

    /// The segment of a rollout whose former segments are not known.
    fn unknown_segment(&mut self, here: &str, old: &RawValue, new: &RawValue) {
        let Some(after) = Fields::try_read(new) else { return };
        let before = Fields::read(old);
        for (name, old, new) in pairs(&before, &after) {
            if !matches!(name, "key" | "operator") {
                self.entry(here, name, old, new, 2);
            }
        }
    }

    /// JSON as text: where it is JSON on both sides, what is in it is compared.
    fn attachment(&mut self, old: Option<&RawValue>, new: Option<&RawValue>) {
        let opened = |value: Option<&RawValue>| value.and_then(text).and_then(opened);
        if let (Some(before), Some(after)) = (opened(old), opened(new)) {
            let is_open = |json: &RawValue| json.get().starts_with(['{', '[']);
            if is_open(&before) && is_open(&after) && same_shape(&before, &after) {
                self.strict = true;
                self.values("", "attachment", &before, &after, 1);
                self.strict = false;
                // As a whole it is the text that it was.
                if let Some(whole) = self.list.last_mut().filter(|told| told.pointer == "/attachment") {
                    (whole.old, whole.new) = (old.map(told), new.map(told));
                }
                return;
            }
            if same(&before, &after, true, 1) {
                return;
            }
        }
        self.entry("", "attachment", old, new, 1);
    }
}

/// Both objects, or both lists: else the text as a whole is another.
fn same_shape(one: &RawValue, other: &RawValue) -> bool {
    one.get().as_bytes().first() == other.get().as_bytes().first()
}

/// An attachment as JSON, unless it nests so deep that its place is inside of a text.
fn opened(attachment: Cow<'_, str>) -> Option<Box<RawValue>> {
    if nesting(&attachment) > MAX_DEPTH {
        return None;
    }
    // Read through the borrowed form: no recursion.
    serde_json::from_str::<&RawValue>(attachment.trim()).ok().map(ToOwned::to_owned)
}

/// How deep JSON nests.
fn nesting(json: &str) -> usize {
    let (mut deepest, mut depth, mut inside, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => inside = !inside,
            b'{' | b'[' if !inside => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !inside => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn is_rollout_of_unknown_segments(segment: &RawValue) -> bool {
    Fields::read(segment).raw("key").is_some_and(is_unknown_segment)
}

/// What protobuf leaves out, or writes, as it likes.
fn says_nothing(value: &RawValue) -> bool {
    match value.get() {
        "null" | "\"\"" | "false" => true,
        other => {
            let mut ends = other.bytes().filter(|byte| !byte.is_ascii_whitespace());
            let pair = (ends.next(), ends.next(), ends.next());
            matches!(pair, (Some(b'['), Some(b']'), None) | (Some(b'{'), Some(b'}'), None))
        }
    }
}

/// Whether two values mean the same.
fn same(one: &RawValue, other: &RawValue, strict: bool, depth: usize) -> bool {
    if one.get() == other.get() {
        return true;
    }
    if !strict && says_nothing(one) && says_nothing(other) {
        return true;
    }
    if let (Some(one), Some(other)) = (text(one), text(other)) {
        return one == other;
    }
    if let (Some(value), Some(other_value)) = (number(one), number(other)) {
        // Beyond what a double tells apart, only the same digits are the same number.
        return value == other_value && [one, other].iter().any(|text| text.get().len() <= 15);
    }
    if depth >= MAX_DEPTH {
        return told(one) == told(other);
    }
    if let (Some(one), Some(other)) = (Fields::try_read(one), Fields::try_read(other)) {
        return pairs(&one, &other).all(|(_, one, other)| match (one, other) {
            (Some(one), Some(other)) => same(one, other, strict, depth + 1),
            (one, other) => !strict && one.or(other).is_none_or(says_nothing),
        });
    }
    if let (Some(one), Some(other)) = (items(one), items(other)) {
        let mut both = one.iter().zip(&other);
        return one.len() == other.len() && both.all(|(one, other)| same(one, other, strict, depth + 1));
    }
    false
}

/// A value without whitespace between its tokens.
fn told(value: &RawValue) -> RawText {
    RawText(in_compact_form(value).into_owned())
}

fn joined(parent: &str, step: &str) -> String {
    let mut pointer = String::with_capacity(parent.len() + step.len() + 1);
    pointer.push_str(parent);
    pointer.push('/');
    for character in step.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            other => pointer.push(other),
        }
    }
    pointer
}

/// Which items of two lists are the same thing, told by their ids.
struct Matching {
    common: Vec<(usize, usize)>,
    removed: Vec<usize>,
    added: Vec<usize>,
}

impl Matching {
    /// `None` where not every item has an id of its own, or where what stayed changed its order.
    fn of(olds: &[&RawValue], news: &[&RawValue]) -> Option<Self> {
        let places = |list: &[&RawValue]| -> Option<BTreeMap<usize, String>> {
            let ids = list.iter().map(|item| Some(Fields::try_read(item)?.text("id")?.into_owned()));
            ids.enumerate().map(|(place, id)| Some((place, id?))).collect()
        };
        let (olds, news) = (places(olds)?, places(news)?);
        let by_id: HashMap<&str, usize> = news.iter().map(|(place, id)| (id.as_str(), *place)).collect();
        let known: HashMap<&str, usize> = olds.iter().map(|(place, id)| (id.as_str(), *place)).collect();
        if by_id.len() < news.len() || known.len() < olds.len() {
            return None;
        }
        let mut matching = Self { common: Vec::new(), removed: Vec::new(), added: Vec::new() };
        for (place, id) in &olds {
            match by_id.get(id.as_str()) {
                Some(new_place) => matching.common.push((*place, *new_place)),
                None => matching.removed.push(*place),
            }
        }
        matching
            .added
            .extend(news.iter().filter(|(_, id)| !known.contains_key(id.as_str())).map(|(at, _)| at));
        let is_in_order = matching.common.windows(2).all(|pair| pair[0].1 < pair[1].1);
        is_in_order.then_some(matching)
    }
}

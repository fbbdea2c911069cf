//! The top level of a JSON object, read with patience: no trees, nothing that a strange type could break.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::tokens::{compacted, for_each_entry, for_each_item, key_name, text};

/// So many fields an entity of Flipt's has, or fewer.
const USUAL_FIELDS: usize = 8;

/// The entries of a JSON object, values as written; the last one where a key is repeated, as Go reads it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// None at all.
    pub(crate) const NONE: Self = Self(Vec::new());

    /// Reads an object; what is none has no fields.
    pub(crate) fn read(json: &'a RawValue) -> Self {
        Self::try_read(json).unwrap_or_default()
    }

    /// Reads an object; `None` of what is none.
    pub(crate) fn try_read(json: &'a RawValue) -> Option<Self> {
        // To be told by a parser that it is none costs more than the whole of an object.
        if !json.get().starts_with('{') {
            return None;
        }
        let mut entries: Vec<(Cow<'a, str>, &'a RawValue)> = Vec::with_capacity(USUAL_FIELDS);
        for_each_entry(json.get(), |key, value| entries.push((key_name(key), value))).ok()?;
        let is_sorted = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !is_sorted {
            // Stable, so that of equal keys the last one stays the last.
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            entries.reverse();
            entries.dedup_by(|one, other| one.0 == other.0);
            entries.reverse();
        }
        Some(Self(entries))
    }

    /// All of them, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Cow<'a, str>, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name, *value))
    }

    /// A value as written.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let place = self.0.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        Some(self.0[place].1)
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        said(self.raw(name)?)
    }

    /// A truth.
    pub(crate) fn truth(&self, name: &str) -> Option<bool> {
        truth(self.raw(name)?)
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        number(self.raw(name)?)
    }

    /// An object inside.
    pub(crate) fn object(&self, name: &str) -> Option<Fields<'a>> {
        Fields::try_read(self.raw(name)?)
    }

    /// The items of a list; none where there is none.
    pub(crate) fn items(&self, name: &str) -> Vec<&'a RawValue> {
        self.raw(name).and_then(items).unwrap_or_default()
    }
}

/// The items of an array; `None` of what is none.
pub(super) fn items(json: &RawValue) -> Option<Vec<&RawValue>> {
    if !json.get().starts_with('[') {
        return None;
    }
    let mut items = Vec::new();
    for_each_item(json.get(), |item| items.push(item)).ok()?;
    Some(items)
}

/// A string that says something.
pub(super) fn said(json: &RawValue) -> Option<Cow<'_, str>> {
    text(json).filter(|said| !said.is_empty())
}

/// Whether it is `true`; `None` of what is no boolean.
pub(super) fn truth(json: &RawValue) -> Option<bool> {
    json.get().parse().ok()
}

/// What a JSON number says.
pub(super) fn number(json: &RawValue) -> Option<f64> {
    if !json.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    serde_json::from_str(json.get()).ok().filter(|number: &f64| number.is_finite())
}

/// A value without whitespace between its tokens: itself, where it has none.
pub(crate) fn in_compact_form(json: &RawValue) -> Cow<'_, RawValue> {
    if is_compact(json.get()) {
        return Cow::Borrowed(json);
    }
    let compact = RawValue::from_string(compacted(json.get()));
    compact.map_or(Cow::Borrowed(json), Cow::Owned)
}

fn is_compact(json: &str) -> bool {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let (mut inside, mut escaped) = (false, false);
    // Without any, strings need not be told from the rest.
    !json.as_bytes().iter().any(is_space)
        || json.bytes().all(|byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => inside = !inside,
                _ => {}
            }
            inside || !is_space(&byte)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whitespace_between_tokens_goes() {
        let compact = |json: &str| {
            let json: Box<RawValue> = serde_json::from_str(json).unwrap();
            let compact = in_compact_form(&json);
            (compact.get().to_owned(), matches!(compact, Cow::Borrowed(_)))
        };
        for (json, said, is_itself) in [
            (r#"{"a":[1,"b"]}"#, r#"{"a":[1,"b"]}"#, true),
            (r#"{"a b":"c \" d","e":"\\"}"#, r#"{"a b":"c \" d","e":"\\"}"#, true),
            (r#"{"a":"\\" ,"b c":1.50}"#, r#"{"a":"\\","b c":1.50}"#, false),
            ("{\"a\":\n[ ]}", r#"{"a":[]}"#, false),
        ] {
            assert_eq!(compact(json), (said.to_owned(), is_itself), "{json}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_counts() {
        let json: Box<RawValue> = serde_json::from_str(r#"{"b":1,"a":2,"b":3,"a":4,"b":"5"}"#).unwrap();
        let fields = Fields::read(&json);
        let all: Vec<_> = fields.iter().map(|(name, value)| (name.to_string(), value.get())).collect();
        assert_eq!(all, [("a".to_owned(), "4"), ("b".to_owned(), "\"5\"")]);
        assert_eq!(fields.text("b").as_deref(), Some("5"));
        assert_eq!((fields.number("a"), fields.number("b"), fields.truth("a")), (Some(4.0), None, None));
    }
}

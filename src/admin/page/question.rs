//! Which changes a page shows: the fields of its form, as they come in the query of its address.

use serde::Serialize;
use url::form_urlencoded;

use crate::admin::ChangeSelection;
use crate::admin::changes::Filter;
use crate::admin::{times, words};
use crate::event::Sequence;

/// A field is read up to here, in characters.
const MAX_TEXT: usize = 200;

/// What was asked for. A page answers as well as it can: what it does not understand, it says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Question {
    /// Words that the told text must hold, all of them.
    pub(super) q: String,
    /// The environment.
    pub(super) environment: String,
    /// The key of a flag, with `*`.
    pub(super) flag: String,
    /// The key of a segment, with `*`.
    pub(super) segment: String,
    /// How far back, as it was written.
    pub(super) since: String,
    /// Only what concerns what people get.
    pub(super) live: bool,
    /// Only what was accepted before this.
    pub(super) before: Option<Sequence>,
    /// What could not be understood.
    pub(super) problem: Option<String>,
}

impl Question {
    pub(super) fn read(query: &str) -> Self {
        let mut question = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let text: String = value.trim().chars().take(MAX_TEXT).collect();
            match &*name {
                "q" => question.q = text,
                "environment" => question.environment = text,
                "flag" => question.flag = text,
                "segment" => question.segment = text,
                "since" => question.since = text,
                "live" => question.live = !matches!(text.as_str(), "" | "0" | "false"),
                "before" => question.before = text.parse().ok(),
                _ => {}
            }
        }
        if let Err(why) = question.since_time() {
            question.problem = Some(format!("since: {why}"));
            question.since.clear();
        }
        question
    }

    /// Whether all changes are asked for.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    fn since_time(&self) -> Result<Option<crate::event::Timestamp>, String> {
        match self.since.as_str() {
            "" => Ok(None),
            text => times::time(text).map(Some),
        }
    }

    fn selection(&self) -> ChangeSelection {
        let list = |text: &String| if text.is_empty() { Vec::new() } else { vec![text.clone()] };
        ChangeSelection {
            since: self.since_time().ok().flatten(),
            environments: list(&self.environment),
            flags: list(&self.flag),
            segments: list(&self.segment),
            ..ChangeSelection::default()
        }
    }

    pub(super) fn filter(&self) -> Filter {
        Filter::new(&self.selection())
    }

    /// Whether a told text holds all words.
    pub(super) fn finds(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.q.to_lowercase().split_whitespace().all(|word| text.contains(word))
    }

    /// The query that asks the same; `before`: of what is older.
    pub(super) fn query(&self, before: Option<Sequence>) -> String {
        self.fields(true, before)
    }

    /// The query of an export in a format: all that a list of records can be asked for.
    pub(super) fn export(&self, format: &str) -> String {
        let rest = self.fields(false, None);
        let and = if rest.is_empty() { "" } else { "&" };
        format!("format={format}{and}{rest}")
    }

    /// Whether an export has more than the page.
    pub(super) fn narrows_beyond_export(&self) -> bool {
        !self.q.is_empty() || self.live
    }

    fn fields(&self, is_page: bool, before: Option<Sequence>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut field = |name: &str, value: &str| {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        };
        if is_page {
            field("q", &self.q);
            field("live", if self.live { "1" } else { "" });
        }
        field("environment", &self.environment);
        field("flag", &self.flag);
        field("segment", &self.segment);
        field("since", &self.since);
        field("before", &before.map(|before| before.to_string()).unwrap_or_default());
        query.finish()
    }

    /// What is shown, in words: `flag checkout`; nothing where the fields of the form say it.
    pub(super) fn subject(&self) -> Option<String> {
        let said =
            |what: &str, key: &String| (!key.is_empty()).then(|| format!("{what} {}", words::brief(key, 80)));
        let said: Vec<String> =
            [said("flag", &self.flag), said("segment", &self.segment)].into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_comes_back_as_it_was_understood() {
        let question = Question::read(
            "q=+Check%20out+&environment=production&flag=a%26b&live=on&since=24h&x=y&before=7",
        );
        assert_eq!(
            (question.q.as_str(), question.flag.as_str(), question.before),
            ("Check out", "a&b", Some(7))
        );
        assert!(question.live && question.problem.is_none() && !question.is_all());
        assert_eq!(
            question.query(Some(9)),
            "q=Check+out&live=1&environment=production&flag=a%26b&since=24h&before=9"
        );
        assert_eq!(question.export("csv"), "format=csv&environment=production&flag=a%26b&since=24h");
        assert_eq!(Question::default().export("csv"), "format=csv");
        assert!(Question::read("").is_all() && Question::read("q=&live=0&since=").is_all());
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let question = Question::read("since=yesterday");
        assert!(question.problem.as_ref().unwrap().starts_with("since: expected a time such as"));
        assert_eq!(question.query(None), "");
    }

    #[test]
    fn all_words_must_be_there_in_whatever_case() {
        let question = Question::read("q=ANN+check");
        assert!(question.finds("Ann turned checkout ON") && !question.finds("Ann turned cart ON"));
    }
}

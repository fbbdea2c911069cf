//! Where more can be seen of what changed.

mod template;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::telling::Account;
use crate::config::plan::{LinksPlan, Surroundings};
use crate::event::EntityKind;
use crate::event::text::one_line;
use crate::routing::Owners;
use template::MAX_ADDRESS_BYTES;
pub use template::{LinkError, LinkTemplate, MOST_LINKS, VARIABLES, Values};

/// What stays as it is in a part of a path or query (RFC 3986, unreserved characters).
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Makes links for accounts.
#[derive(Debug, Clone)]
pub struct Links {
    plan: Arc<LinksPlan>,
    owners: Arc<Owners>,
    /// Those that are templates; what is wrong with one was told with the configuration.
    templates: Arc<Vec<(String, LinkTemplate)>>,
}

/// Titles are shown up to here.
const TITLE_CHARACTERS: usize = 80;

/// One link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it is called: `Open flag`.
    pub title: String,
    /// Its address: printable ASCII without spaces, `<`, `>`, `|` and quotes.
    pub url: String,
}

impl Links {
    /// As planned; without owners, no template knows a `team`.
    #[must_use]
    pub fn new(plan: Arc<LinksPlan>) -> Self {
        let compiled = plan.templates.iter().filter_map(|link| {
            let template = LinkTemplate::new(&link.url).ok()?;
            Some((one_line(&link.title, TITLE_CHARACTERS), template))
        });
        let templates = Arc::new(compiled.collect());
        Self { plan, owners: Arc::default(), templates }
    }

    /// As planned, with the teams that own what changed.
    #[must_use]
    pub fn around(around: &Surroundings) -> Self {
        Self { owners: Arc::clone(&around.owners), ..Self::new(Arc::clone(&around.links)) }
    }

    /// The links of an account, the one into Flipt first; without those that say what it does not have.
    #[must_use]
    pub fn of(&self, account: &Account<'_>) -> Vec<Link> {
        let mut links: Vec<Link> = self.flipt(account).into_iter().chain(self.history(account)).collect();
        if !self.templates.is_empty() {
            let values = Values::of(account, &self.owners);
            links.extend(self.templates.iter().filter_map(|(title, template)| {
                let url = template.render(&values).ok().flatten()?;
                Some(Link { title: title.clone(), url })
            }));
        }
        links
    }

    /// The page of the flag or segment in Flipt (the routes of the user interface of Flipt v1); none for one
    /// that is deleted, or whose address would be too long to be taken.
    #[must_use]
    pub fn flipt(&self, account: &Account<'_>) -> Option<Link> {
        let base = self.plan.flipt.as_ref().filter(|_| !account.is_gone)?;
        let subject = account.subject.as_ref()?;
        if self.plan.instance.as_deref().is_some_and(|instance| instance != &*subject.instance) {
            return None;
        }
        let (kind, key) = (subject.kind, short(subject.key.as_deref()?)?);
        let namespace = short(subject.namespace.known()?)?;
        let (title, page) = match kind {
            EntityKind::Flag => ("Open flag", format!("flags/{key}")),
            EntityKind::Segment => ("Open segment", format!("segments/{key}")),
            _ => return None,
        };
        let url = format!("{base}/#/namespaces/{namespace}/{page}");
        (url.len() <= MAX_ADDRESS_BYTES).then(|| Link { title: title.to_owned(), url })
    }
}

impl Links {
    /// What the status page knows of the flag or segment, deleted or not.
    fn history(&self, account: &Account<'_>) -> Option<Link> {
        let base = self.plan.history.as_ref()?;
        let subject = account.subject.as_ref()?;
        let kind = match subject.kind {
            EntityKind::Flag => "flag",
            EntityKind::Segment => "segment",
            _ => return None,
        };
        let key = short(subject.key.as_deref()?)?;
        let environment = account.environment.as_deref().map(|name| format!("environment={}&", value(name)));
        let url = format!("{base}/?{}{kind}={key}#changes", environment.unwrap_or_default());
        (url.len() <= MAX_ADDRESS_BYTES).then(|| Link { title: "History".to_owned(), url })
    }
}

/// A value as part of an address; `None`: no address has room for it.
fn short(text: &str) -> Option<String> {
    (text.len() <= MAX_ADDRESS_BYTES).then(|| value(text))
}

/// A value as part of an address.
#[must_use]
pub fn value(text: &str) -> String {
    utf8_percent_encode(text, VALUE).to_string()
}

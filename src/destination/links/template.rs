//! Links by templates of one's own (minijinja, <https://docs.rs/minijinja>): every value is percent-encoded, and
//! a link that needs what an account does not have is left out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::Url;

use crate::destination::telling::Account;
use crate::destination::template::{bounds, explained};
use crate::routing::Owners;

/// Links that a configuration may have.
pub const MOST_LINKS: usize = 10;
/// No address is longer: what Datadog takes of a link.
pub(super) const MAX_ADDRESS_BYTES: usize = 2_048;
/// How much a rendering may do, in minijinja's steps: far beyond what an address needs.
const FUEL: u64 = 5_000;
/// The name of the only template of an environment.
const NAME: &str = "url";
/// What has no place in an address as it stands, or would end one in Markdown, in Slack or in HTML.
const ODD: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'\'')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The variables that a template may use, in alphabetical order.
pub const VARIABLES: [&str; 11] = [
    "change_set",
    "environment",
    "event",
    "instance",
    "key",
    "kind",
    "name",
    "namespace",
    "team",
    "time",
    "time_ms",
];

/// What is known of an account, by the names of variables.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// What an account tells.
    #[must_use]
    pub fn of(account: &Account<'_>, owners: &Owners) -> Self {
        let mut values = Self::default();
        if let Some(subject) = &account.subject {
            values.set("kind", subject.kind.as_str());
            values.set("instance", &subject.instance);
            if let Some(key) = &subject.key {
                values.set("key", key);
                values.set("name", subject.name.as_ref().unwrap_or(key));
                let teams = owners.teams_of(subject.kind, key, &subject.namespace);
                teams.first().into_iter().for_each(|team| values.set("team", team));
            }
            subject.namespace.known().into_iter().for_each(|namespace| values.set("namespace", namespace));
        }
        account.environment.as_deref().into_iter().for_each(|name| values.set("environment", name));
        account.change_set.into_iter().for_each(|id| values.set("change_set", id));
        if let Some(first) = account.deliveries.first() {
            values.set("event", &first.record.id.to_string());
        }
        values.set("time", &account.effect_at.to_string());
        let milliseconds = account.effect_at.unix_micros().div_euclid(1_000);
        values.0.insert("time_ms", Value::from(milliseconds));
        values
    }

    /// All that can be known of a flag or segment, to try templates on.
    #[must_use]
    pub fn sample(kind: &str) -> Self {
        let mut values = Self::default();
        for variable in VARIABLES {
            values.set(variable, "sample");
        }
        values.set("kind", kind);
        values.set("time", "2026-11-22T14:14:02Z");
        values.0.insert("time_ms", Value::from(1_795_356_842_000_i64));
        values
    }

    fn set(&mut self, variable: &'static str, value: &str) {
        self.0.insert(variable, Value::from(value));
    }
}

/// Why a template makes no link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is no template; with its line.
    #[error("not a template: {0}")]
    Syntax(String),
    /// It fails for these values.
    #[error("{0}")]
    Fails(String),
    /// It makes what is no address.
    #[error("it makes no http or https address of at most 2,048 characters, without user and password")]
    NoAddress,
}

/// The template of one link, ready to render.
pub struct LinkTemplate(Environment<'static>);

impl fmt::Debug for LinkTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkTemplate").finish_non_exhaustive()
    }
}

impl LinkTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// When it is none.
    pub fn new(url: &str) -> Result<Self, LinkError> {
        bounds::check(url).map_err(LinkError::Syntax)?;
        let mut environment = Environment::new();
        bounds::confine(&mut environment);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_fuel(Some(FUEL));
        // So errors name what is undefined.
        environment.set_debug(true);
        environment.set_formatter(encoded);
        // Values are encoded already: once more would break them.
        environment.remove_filter("urlencode");
        environment
            .add_template_owned(NAME, url.to_owned())
            .map_err(|error| LinkError::Syntax(explained(&error).to_string()))?;
        Ok(Self(environment))
    }

    /// The variables that it uses and that no link has, in alphabetical order.
    #[must_use]
    pub fn unknown_variables(&self) -> Vec<String> {
        let used = self.0.get_template(NAME).map(|template| template.undeclared_variables(false));
        let mut unknown: Vec<String> = used.unwrap_or_default().into_iter().collect();
        unknown.retain(|name| {
            !VARIABLES.contains(&name.as_str()) && !self.0.globals().any(|(global, _)| global == name)
        });
        unknown.sort_unstable();
        unknown
    }

    /// The address for some values; `None` where nothing but whitespace comes out: the template leaves it out.
    ///
    /// # Errors
    /// When it needs what is not known, or makes no address.
    pub fn render(&self, values: &Values) -> Result<Option<String>, LinkError> {
        let made = self.0.get_template(NAME).and_then(|template| template.render(&values.0));
        let made = made.map_err(|error| LinkError::Fails(explained(&error).to_string()))?;
        let made = made.trim();
        if made.is_empty() {
            return Ok(None);
        }
        let address = utf8_percent_encode(made, ODD).to_string();
        is_address(&address).then_some(Some(address)).ok_or(LinkError::NoAddress)
    }
}

/// Writes a value as part of an address.
fn encoded(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text: Cow<'_, str> = match value.kind() {
        ValueKind::String => value.as_str().map(Cow::Borrowed).unwrap_or_default(),
        ValueKind::Number | ValueKind::Bool => value.to_string().into(),
        kind => return Err(Error::new(ErrorKind::InvalidOperation, format!("{kind} in an address"))),
    };
    out.write_str(&super::value(&text)).map_err(|_| ErrorKind::WriteFailure.into())
}

/// Whether people can follow it, and nobody is led astray: `https://bank.example@evil.example` has a user.
fn is_address(text: &str) -> bool {
    let is_whole = |text: &str| {
        let mut parts = text.split('%').skip(1);
        parts.all(|part| part.as_bytes().get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit)))
    };
    text.len() <= MAX_ADDRESS_BYTES
        && is_whole(text)
        && Url::parse(text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|host| !host.is_empty())
                && url.username().is_empty()
                && url.password().is_none()
        })
}

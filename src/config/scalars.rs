//! What a single value may look like: each form with its reader, its words for people and its schema.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Timestamp;

/// A form of text with a meaning.
pub(super) trait Scalar: Sized {
    /// The word by which the schema names the form (`x-scalar`).
    const FORM: &'static str;
    /// What people are told to write.
    const EXPECTED: &'static str;
    /// A regular expression for editors, where one is worth it.
    const PATTERN: Option<&'static str> = None;
    /// Reads it; the error says what is wrong and never repeats the text.
    fn read(text: &str) -> Result<Self, &'static str>;
    /// Writes it as a person would.
    fn write(&self) -> String;
}

/// A reader that only says whether, and what is wrong.
type Check = fn(&str) -> Result<(), &'static str>;

/// What is expected of a form that a schema names, and its reader.
pub(super) fn form(name: &str) -> Option<(&'static str, Check)> {
    fn of<S: Scalar>() -> (&'static str, Check) {
        (S::EXPECTED, |text| S::read(text).map(|_| ()))
    }
    Some(match name {
        Period::FORM => of::<Period>(),
        Expiry::FORM => of::<Expiry>(),
        Size::FORM => of::<Size>(),
        Listen::FORM => of::<Listen>(),
        Since::FORM => of::<Since>(),
        Rate::FORM => of::<Rate>(),
        EventWords::FORM => of::<EventWords>(),
        Name::FORM => of::<Name>(),
        Wildcard::FORM => of::<Wildcard>(),
        PathGlob::FORM => of::<PathGlob>(),
        PathText::FORM => of::<PathText>(),
        TimedPath::FORM => of::<TimedPath>(),
        Address::FORM => of::<Address>(),
        Level::FORM => of::<Level>(),
        _ => return None,
    })
}

macro_rules! scalar {
    ($($type:ident),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::read(&text).map_err(serde::de::Error::custom)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.write())
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!({ "type": "string", "x-scalar": $type::FORM });
                if let Some(pattern) = $type::PATTERN {
                    schema.insert("pattern".into(), pattern.into());
                }
                schema
            }
        }
    )*};
}
scalar!(
    Period, Expiry, Size, Listen, Since, Rate, EventWords, Name, Wildcard, PathGlob, PathText, TimedPath,
    Level
);

/// A length of time: `250ms`, `5s`, `24h`, `400d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Period(pub(super) Duration);

impl Scalar for Period {
    const FORM: &'static str = "duration";
    const EXPECTED: &'static str = "a duration such as `250ms`, `5s`, `24h` or `7d`";
    const PATTERN: Option<&'static str> = Some(r"^\s*[0-9]+\s*[a-zA-Zµ]+(\s*[0-9]+\s*[a-zA-Zµ]+)*\s*$");

    fn read(text: &str) -> Result<Self, &'static str> {
        let duration = humantime::parse_duration(text).map_err(|_| "not a duration")?;
        if duration > LONGEST { Err("a duration too long") } else { Ok(Self(duration)) }
    }

    fn write(&self) -> String {
        // Days are as far as people count here (humantime's months and years are averages), and one
        // day is said in hours.
        let seconds = self.0.as_secs();
        if self.0.subsec_nanos() == 0 && seconds >= 2 * 86_400 && seconds.is_multiple_of(86_400) {
            return format!("{}d", seconds / 86_400);
        }
        if self.0.subsec_nanos() == 0 && seconds >= 3_600 && seconds.is_multiple_of(3_600) {
            return format!("{}h", seconds / 3_600);
        }
        humantime::format_duration(self.0).to_string()
    }
}

/// Longer is a mistake, and more than clocks can add.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

impl Period {
    pub(super) const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub(super) const fn hours(hours: u64) -> Self {
        Self::secs(hours * 3_600)
    }

    pub(super) const fn days(days: u64) -> Self {
        Self::hours(days * 24)
    }
}

/// A length of time, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry(pub(super) Option<Duration>);

impl Scalar for Expiry {
    const FORM: &'static str = "duration or never";
    const EXPECTED: &'static str = "a duration such as `24h` or `7d`, or `never`";
    const PATTERN: Option<&'static str> =
        Some(r"^\s*(never|[0-9]+\s*[a-zA-Zµ]+(\s*[0-9]+\s*[a-zA-Zµ]+)*)\s*$");

    fn read(text: &str) -> Result<Self, &'static str> {
        if text == "never" { Ok(Self(None)) } else { Period::read(text).map(|period| Self(Some(period.0))) }
    }

    fn write(&self) -> String {
        self.0.map_or_else(|| "never".into(), |duration| Period(duration).write())
    }
}

/// An amount of bytes: `64MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size(pub(super) u64);

/// Units and their bytes, the largest first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

impl Scalar for Size {
    const FORM: &'static str = "size";
    const EXPECTED: &'static str = "a size such as `64KiB`, `64MiB` or `1GiB`";
    const PATTERN: Option<&'static str> = Some(r"^\s*[0-9]+\s*([kKmMgGtT]?[bB]|[kKmMgGtT][iI][bB])\s*$");

    fn read(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| "not a size")?;
        let unit = unit.trim();
        let (_, bytes) =
            UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or("not a size")?;
        number.checked_mul(*bytes).map(Self).ok_or("a size too large")
    }

    fn write(&self) -> String {
        let (unit, bytes) = UNITS
            .iter()
            .filter(|(name, _)| name.len() != 2)
            .find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes))
            .unwrap_or(&("B", 1));
        format!("{}{unit}", self.0 / bytes)
    }
}

/// Where to listen: `:9464`, `127.0.0.1:9465`, `[::1]:9465`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listen(pub(super) SocketAddr);

impl Scalar for Listen {
    const FORM: &'static str = "listen";
    const EXPECTED: &'static str = "an address such as `:9464` or `127.0.0.1:9465`";
    const PATTERN: Option<&'static str> = Some(r"^.*:[0-9]{1,5}$");

    fn read(text: &str) -> Result<Self, &'static str> {
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| "not a port")?;
            return Ok(Self(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
        }
        text.parse().map(Self).map_err(|_| "not an address with a port")
    }

    fn write(&self) -> String {
        if self.0.ip() == Ipv4Addr::UNSPECIFIED { format!(":{}", self.0.port()) } else { self.0.to_string() }
    }
}

/// From when on a destination takes records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    Beginning,
    Now,
    Time(Timestamp),
}

impl Scalar for Since {
    const FORM: &'static str = "since";
    const EXPECTED: &'static str = "`beginning`, `now` or a time such as `2026-11-22T08:00:00Z`";

    fn read(text: &str) -> Result<Self, &'static str> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "now" => Ok(Self::Now),
            _ => Timestamp::parse_rfc3339(text).map(Self::Time).ok_or("not a time"),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Beginning => "beginning".into(),
            Self::Now => "now".into(),
            Self::Time(time) => time.to_string(),
        }
    }
}

/// How many requests in how long: `1/s`, `30/m`, `1000/h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) requests: u32,
    per: char,
}

impl Rate {
    pub(super) fn per(self) -> Duration {
        Duration::from_secs(match self.per {
            'm' => 60,
            'h' => 3_600,
            _ => 1,
        })
    }
}

impl Scalar for Rate {
    const FORM: &'static str = "rate";
    const EXPECTED: &'static str = "a rate such as `1/s`, `30/m` or `1000/h`";
    const PATTERN: Option<&'static str> = Some(r"^[1-9][0-9]*/[smh]$");

    fn read(text: &str) -> Result<Self, &'static str> {
        let (requests, per) = text.split_once('/').ok_or("not a rate")?;
        let requests = requests.parse().ok().filter(|number| *number > 0).ok_or("not a rate")?;
        match per {
            "s" | "m" | "h" => Ok(Self { requests, per: per.chars().next().unwrap_or('s') }),
            _ => Err("not a rate"),
        }
    }

    fn write(&self) -> String {
        format!("{}/{}", self.requests, self.per)
    }
}

/// Flipt's `noun:verb`; which nouns and verbs there are is checked with the routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventWords(pub(super) String, pub(super) String);

impl Scalar for EventWords {
    const FORM: &'static str = "event";
    const EXPECTED: &'static str = "Flipt's `noun:verb` such as `flag:updated`, `*:deleted` or `*:*`";
    const PATTERN: Option<&'static str> = Some(r"^[a-z*]+:[a-z*]+$");

    fn read(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some((noun, verb)) if !noun.is_empty() && !verb.is_empty() => Ok(Self(noun.into(), verb.into())),
            _ => Err("not an event pattern"),
        }
    }

    fn write(&self) -> String {
        format!("{}:{}", self.0, self.1)
    }
}

/// Texts that stay texts, each with its own check.
macro_rules! text {
    ($($(#[$doc:meta])* $type:ident($form:literal, $expected:literal, $pattern:expr, $check:expr);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
        pub(super) struct $type(pub(super) String);

        impl Scalar for $type {
            const FORM: &'static str = $form;
            const EXPECTED: &'static str = $expected;
            const PATTERN: Option<&'static str> = $pattern;

            fn read(text: &str) -> Result<Self, &'static str> {
                let check: fn(&str) -> Option<&'static str> = $check;
                check(text).map_or_else(|| Ok(Self(text.to_owned())), Err)
            }

            fn write(&self) -> String {
                self.0.clone()
            }
        }
    )*};
}
text! {
    /// A name that the configuration gives to something.
    Name("name", "a name of small letters, digits and `_` that begins with a letter",
        Some("^[a-z][a-z0-9_]*$"), |text| (!is_name(text)).then_some("not a name"));
    /// Text in which `*` stands for any run of characters.
    Wildcard("pattern", "text, in which `*` stands for any run of characters",
        None, |text| text.trim().is_empty().then_some("empty"));
    /// A path, or a glob.
    PathGlob("glob", "a path or a glob such as `/var/log/flipt/*.log`", None, check_glob);
    /// A path.
    PathText("path", "a path", None, |text| text.trim().is_empty().then_some("empty"));
    /// A path in which `%Y`, `%m`, `%d` and `%H` stand for a time.
    TimedPath("timed path", "a path, in which `%Y`, `%m`, `%d` and `%H` stand for the time in UTC", None, check_timed);
    /// The least severe level that shows, per module.
    Level("log level", "`trace`, `debug`, `info`, `warn`, `error` or `off`, or such as `info,audit_relay::source=debug`",
        None, check_level);
}

/// Whether text may name a source, destination, route or environment.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn check_glob(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("empty");
    }
    glob::Pattern::new(text).err().map(|_| "not a glob")
}

fn check_timed(text: &str) -> Option<&'static str> {
    if text.trim().is_empty() || text.ends_with('/') {
        return Some("not the path of a file");
    }
    let unknown = text.split('%').skip(1).any(|after| !after.starts_with(['Y', 'm', 'd', 'H']));
    unknown.then_some("a `%` that stands for nothing")
}

const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];

fn check_level(text: &str) -> Option<&'static str> {
    let well = text.split(',').all(|part| match part.split_once('=') {
        Some((module, level)) => !module.trim().is_empty() && LEVELS.contains(&level.trim()),
        None => LEVELS.contains(&part.trim()),
    });
    (!well).then_some("not a log level")
}

/// An `http` or `https` address; it may be a secret, so it shows nothing.
#[derive(Clone)]
pub(super) struct Address;

impl Scalar for Address {
    const FORM: &'static str = "url";
    const EXPECTED: &'static str = "an address such as `https://audit.example.com/flipt`";

    fn read(text: &str) -> Result<Self, &'static str> {
        let url = url::Url::parse(text).map_err(|_| "not an address")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("not an http or https address");
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("an address without a host");
        }
        if url.fragment().is_some() { Err("an address with a fragment") } else { Ok(Self) }
    }

    fn write(&self) -> String {
        String::new()
    }
}

/// What is wrong with the address of a destination, where something is; does not repeat it.
pub(crate) fn address_problem(text: &str) -> Option<&'static str> {
    Address::read(text).err()
}

/// Whether an address holds what only its owner should see: user, password or query.
pub(super) fn is_secret_address(text: &str) -> bool {
    match url::Url::parse(text) {
        Ok(url) => !url.username().is_empty() || url.password().is_some() || url.query().is_some(),
        Err(_) => text.contains(['@', '?']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_and_write() {
        for text in ["250ms", "5s", "24h", "7d", "400d"] {
            let period = Period::read(text).unwrap();
            assert_eq!(Period::read(&period.write()).unwrap(), period, "{text}");
        }
        assert_eq!(Period::days(7).write(), "7d");
        assert_eq!(Period::hours(36).write(), "36h");
        assert_eq!(Expiry::read("never").unwrap(), Expiry(None));
        for (text, bytes) in [("64MiB", 64 << 20), ("1GiB", 1 << 30), ("10 kb", 10_000), ("7B", 7)] {
            assert_eq!(Size::read(text).unwrap().0, bytes, "{text}");
        }
        assert_eq!(Size(64 << 20).write(), "64MiB");
        for text in ["", "64", "MiB", "1.5GiB", "99999999999TiB", "-1B"] {
            assert!(Size::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_to_listen_on() {
        assert_eq!(Listen::read(":9464").unwrap().0.to_string(), "0.0.0.0:9464");
        assert_eq!(Listen::read("[::1]:1").unwrap().0.to_string(), "[::1]:1");
        assert_eq!(Listen::read(":9464").unwrap().write(), ":9464");
        assert!(Listen::read("9464").is_err());
        assert!(Listen::read("localhost:9464").is_err());
    }

    #[test]
    fn other_forms() {
        assert!(Rate::read("30/m").is_ok() && Rate::read("0/m").is_err() && Rate::read("1/d").is_err());
        assert!(TimedPath::read("/a/%Y-%m-%d.ndjson").is_ok() && TimedPath::read("/a/%x").is_err());
        assert!(Level::read("info,audit_relay::source=debug").is_ok() && Level::read("verbose").is_err());
        assert!(PathGlob::read("/a/***").is_err());
        assert!(is_secret_address("https://u:p@h/") && is_secret_address("https://h/?k=v"));
        assert!(!is_secret_address("https://audit.example.com/flipt"));
    }
}

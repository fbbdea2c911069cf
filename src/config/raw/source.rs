//! Where records enter.

use schemars::JsonSchema;
use serde::Deserialize;

use super::common::{Demanded, Many, SecretText, Tls};
use crate::config::scalars::{Expiry, Listen, Name, PathGlob, PathText, Period, Size};

/// A source.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::config) enum Source {
    /// Tails the audit log that Flipt writes.
    File(FileSource),
    /// Takes the events that Flipt's webhook sink, or another relay, pushes.
    Http(HttpSource),
}

impl Source {
    /// What every source has.
    pub(in crate::config) fn common(&self) -> &SourceCommon {
        match self {
            Self::File(source) => &source.common,
            Self::Http(source) => &source.common,
        }
    }
}

/// What every source has.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub(in crate::config) struct SourceCommon {
    /// The Flipt that it belongs to, however many replicas that has.
    pub(in crate::config) instance: Name,
    /// The environment of all its events, where the source fixes it.
    pub(in crate::config) environment: Option<Name>,
    /// Whether this source sees every change of its Flipt, so that the state before one can be told. Without it
    /// that is so where the instance has no other source; say `false` where several replicas of Flipt write
    /// and each relay sees a part.
    pub(in crate::config) single_writer: Option<bool>,
    /// Silence longer than this is a problem to tell, counted while the relay runs: `3d`. Without it silence is
    /// none.
    pub(in crate::config) silent_after: Expiry,
}

impl Default for SourceCommon {
    fn default() -> Self {
        Self {
            instance: Name("flipt".into()),
            environment: None,
            single_writer: None,
            silent_after: Expiry(None),
        }
    }
}

/// A source that tails files.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["path"]))]
pub(in crate::config) struct FileSource {
    #[serde(flatten)]
    pub(in crate::config) common: SourceCommon,
    /// The path of the file, or a list of paths and globs.
    pub(in crate::config) path: Many<PathGlob>,
    /// How lines are wrapped: `auto` knows Flipt's own forms, `cri` the prefix of container runtimes.
    pub(in crate::config) framing: FramingWord,
    /// Where to begin with files that are there at the very first start.
    pub(in crate::config) read_from: ReadFromWord,
    /// The longest line that is kept whole; 4MiB is the most.
    #[schemars(extend("x-maximum-size" = "4MiB"))]
    pub(in crate::config) max_event: Size,
    /// Where rotated copies are moved to, if not beside the file.
    pub(in crate::config) rotated_dir: Option<PathText>,
    /// How long a renamed file may be silent before it counts as finished.
    pub(in crate::config) rotated_idle: Period,
    /// Whether globs take rotated copies (`audit.log.1`, `….gz`) too.
    pub(in crate::config) include_rotated: bool,
    /// How often to look where the system cannot tell of changes.
    pub(in crate::config) poll_interval: Period,
    /// Whether to ask the system for changes, or to look.
    pub(in crate::config) watch: WatchWord,
    /// Whether to give the space of what every destination has passed back to the file system, by punching holes into
    /// the file: for a writer that never rotates it. From then on the journal alone holds those events.
    pub(in crate::config) reclaim: ReclaimWord,
}

impl Default for FileSource {
    fn default() -> Self {
        Self {
            common: SourceCommon::default(),
            path: Many::default(),
            framing: FramingWord::Auto,
            read_from: ReadFromWord::Beginning,
            max_event: Size(4 << 20),
            rotated_dir: None,
            rotated_idle: Period::hours(24),
            include_rotated: false,
            poll_interval: Period(std::time::Duration::from_millis(250)),
            watch: WatchWord::Auto,
            reclaim: ReclaimWord::Off,
        }
    }
}

/// A source that takes pushes.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct HttpSource {
    #[serde(flatten)]
    pub(in crate::config) common: SourceCommon,
    /// Where to listen.
    pub(in crate::config) listen: Listen,
    /// The signatures of which a push must carry one. Where `bearer` is set too, it must carry both; without either,
    /// `none` says that anybody may push.
    pub(in crate::config) signing: Demanded,
    /// The token that a push must carry (`Authorization: Bearer …`).
    pub(in crate::config) bearer: Option<SecretText>,
    /// The certificate (`cert`, `key`) to speak TLS with; with a `ca`, clients must show one of its certificates.
    pub(in crate::config) tls: Option<Tls>,
    /// The largest body that is taken. Bodies of twice this size are held in memory at the same time, at most.
    #[schemars(extend("x-minimum-size" = "1KiB", "x-maximum-size" = "64MiB"))]
    pub(in crate::config) max_body: Size,
}

impl Default for HttpSource {
    fn default() -> Self {
        Self {
            common: SourceCommon::default(),
            listen: Listen(([0, 0, 0, 0], 8787).into()),
            signing: Demanded::default(),
            bearer: None,
            tls: None,
            max_body: Size(8 << 20),
        }
    }
}

super::words! {
    FramingWord { Auto, Cri }
    ReadFromWord { Beginning, End }
    WatchWord { Auto, Poll }
    ReclaimWord { Off, PunchHole }
}

//! The same line again and again tells nothing new, and buries what does: in a minute it is shown a few times,
//! and then told in numbers.
//!
//! Two lines are the same when they come from the same statement with the same text and the same fields,
//! numbers and what only tells which one ([`PASSING`]) aside. `DEBUG` and `TRACE` are shown whole: whoever
//! switches them on looks for something. What was held back is told when its minute is over, by a thread
//! that lives only while there is something to tell.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The target of the lines that tell what was not shown.
pub(super) const TARGET: &str = "audit_relay::repeats";
/// How often the same line is shown in a [`WINDOW`].
const SHOWN: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// Kinds of lines that are remembered; beyond, the one that began longest ago goes.
const MAX_KINDS: usize = 256;
/// How much of a line's text is repeated.
const EXAMPLE_CHARACTERS: usize = 300;
/// Fields that tell which one it is about, and nothing of what happened.
const PASSING: [&str; 7] = ["event", "batch", "id", "peer", "wait", "trace_id", "span_id"];

/// Lets a line through, or holds it back. Clones share what they know.
#[derive(Clone)]
pub(super) struct Repeats(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
    /// Whether a thread tells when it is time.
    tells_by_itself: bool,
}

#[derive(Default)]
struct State {
    kinds: HashMap<u64, Kind>,
    /// Lines held back of kinds that had to go.
    forgotten: u64,
    is_teller_there: bool,
}

/// A kind of line, in its minute.
struct Kind {
    begun: Instant,
    shown: u32,
    held: u64,
    /// There where something is held back.
    example: Option<Example>,
}

/// What is told of a kind.
#[derive(Clone)]
struct Example {
    level: Level,
    text: String,
    destination: Option<String>,
    source: Option<String>,
}

impl Repeats {
    pub(super) fn new() -> Self {
        Self::with(Box::new(Instant::now), true)
    }

    fn with(clock: Box<dyn Fn() -> Instant + Send + Sync>, tells_by_itself: bool) -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), clock, tells_by_itself }))
    }

    /// One by a clock that is handed in; what it holds back is told by [`Self::tell_due`] only.
    #[cfg(test)]
    pub(super) fn by_clock(clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self::with(Box::new(clock), false)
    }

    /// Tells what was held back and whose minute is over; until when there is nothing more to do, if there is
    /// anything.
    pub(super) fn tell_due(&self) -> Option<Instant> {
        let now = (self.0.clock)();
        let (told, forgotten, next) = {
            let mut state = self.state();
            let told = state.take(|kind| now >= kind.begun + WINDOW);
            let forgotten = std::mem::take(&mut state.forgotten);
            let next = state.due_at();
            state.is_teller_there &= next.is_some();
            (told, forgotten, next)
        };
        tell(&told, forgotten);
        next
    }

    /// Tells all that was held back.
    pub(super) fn tell_all(&self) {
        let (told, forgotten) = {
            let mut state = self.state();
            (state.take(|_| true), std::mem::take(&mut state.forgotten))
        };
        tell(&told, forgotten);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_shown(&self, event: &Event<'_>) -> bool {
        let mut line = Line::default();
        event.metadata().callsite().hash(&mut line.hasher);
        event.record(&mut line);
        let now = (self.0.clock)();
        let mut state = self.state();
        let is_shown = state.judge(line.hasher.finish(), now, || line.example(*event.metadata().level()));
        let must_start = !is_shown && self.0.tells_by_itself && !state.is_teller_there;
        state.is_teller_there |= must_start;
        drop(state);
        if must_start {
            self.start_teller();
        }
        is_shown
    }

    fn start_teller(&self) {
        let repeats = self.clone();
        let tell = move || {
            let due_at = repeats.state().due_at();
            let mut next = due_at.or_else(|| repeats.tell_due());
            while let Some(at) = next {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                next = repeats.tell_due();
            }
        };
        if std::thread::Builder::new().name("repeats".to_owned()).spawn(tell).is_err() {
            // The next line that is held back tries again.
            self.state().is_teller_there = false;
        }
    }
}

/// A layer that gets to see what is shown. (A filter per layer cannot do this: what its `event_enabled` refuses
/// stays refused for the next event of the thread, tracing-subscriber 0.3.23.)
pub(super) struct Limited<L> {
    inner: L,
    repeats: Repeats,
}

impl<L> Limited<L> {
    pub(super) const fn new(inner: L, repeats: Repeats) -> Self {
        Self { inner, repeats }
    }
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for Limited<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let is_free = *metadata.level() > Level::INFO || metadata.target() == TARGET;
        if is_free || self.repeats.is_shown(event) {
            self.inner.on_event(event, context);
        }
    }

    fn on_layer(&mut self, subscriber: &mut S) {
        self.inner.on_layer(subscriber);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.inner.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.inner.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.inner.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.inner.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.inner.on_close(id, context);
    }
}

impl State {
    /// Whether a line of `kind` is shown at `now`; `example` is asked for where it is the first that is not.
    fn judge(&mut self, key: u64, now: Instant, example: impl FnOnce() -> Example) -> bool {
        if !self.kinds.contains_key(&key) {
            self.make_room();
        }
        let kind = self.kinds.entry(key).or_insert(Kind { begun: now, shown: 0, held: 0, example: None });
        // What is held back is told first: its minute ends with that.
        if kind.held == 0 && now >= kind.begun + WINDOW {
            (kind.begun, kind.shown) = (now, 0);
        }
        if kind.shown < SHOWN {
            kind.shown += 1;
            return true;
        }
        kind.held += 1;
        kind.example.get_or_insert_with(example);
        false
    }

    fn make_room(&mut self) {
        if self.kinds.len() < MAX_KINDS {
            return;
        }
        // One that holds something back goes only where all do.
        let oldest = self.kinds.iter().min_by_key(|(_, kind)| (kind.held > 0, kind.begun));
        if let Some(key) = oldest.map(|(key, _)| *key)
            && let Some(kind) = self.kinds.remove(&key)
        {
            self.forgotten += kind.held;
        }
    }

    /// When there is something to tell.
    fn due_at(&self) -> Option<Instant> {
        self.kinds.values().filter(|kind| kind.held > 0).map(|kind| kind.begun + WINDOW).min()
    }

    /// What `is_due` says of what is held back; a new minute begins for it with its next line.
    fn take(&mut self, is_due: impl Fn(&Kind) -> bool) -> Vec<(u64, Example)> {
        let due: Vec<u64> = self
            .kinds
            .iter()
            .filter(|(_, kind)| kind.held > 0 && is_due(kind))
            .map(|(key, _)| *key)
            .collect();
        let mut kinds: Vec<Kind> = due.iter().filter_map(|key| self.kinds.remove(key)).collect();
        kinds.sort_by_key(|kind| kind.begun);
        kinds.into_iter().filter_map(|kind| Some((kind.held, kind.example?))).collect()
    }
}

fn tell(told: &[(u64, Example)], forgotten: u64) {
    for (held, example) in told {
        let Example { level, text, destination, source } = example;
        let (destination, source) = (destination.as_deref(), source.as_deref());
        macro_rules! tell {
            ($level:expr) => {
                tracing::event!(
                    target: TARGET,
                    $level,
                    destination,
                    source,
                    not_shown = held,
                    "{held} more like this in the last minute were not shown: {text}"
                )
            };
        }
        match *level {
            Level::ERROR => tell!(Level::ERROR),
            Level::WARN => tell!(Level::WARN),
            _ => tell!(Level::INFO),
        }
    }
    if forgotten > 0 {
        tracing::warn!(
            target: TARGET,
            not_shown = forgotten,
            "{forgotten} more lines were not shown: too many kinds of lines repeat at once"
        );
    }
}

/// A line, as far as it says what kind it is.
#[derive(Default)]
struct Line {
    hasher: DefaultHasher,
    text: String,
    destination: Option<String>,
    source: Option<String>,
}

impl Line {
    fn example(self, level: Level) -> Example {
        let Self { text, destination, source, .. } = self;
        let text = match text.char_indices().nth(EXAMPLE_CHARACTERS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        };
        Example { level, text, destination, source }
    }

    fn field(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let name = field.name();
        if PASSING.contains(&name) {
            return;
        }
        name.hash(&mut self.hasher);
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        text.hash(&mut self.hasher);
        match name {
            "message" => self.text = text,
            "destination" => self.destination = Some(text),
            "source" => self.source = Some(text),
            _ => {}
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, &format_args!("{value}"));
    }

    // Numbers change while what they count stays the same.
    fn record_u64(&mut self, _: &Field, _: u64) {}
    fn record_i64(&mut self, _: &Field, _: i64) {}
    fn record_u128(&mut self, _: &Field, _: u128) {}
    fn record_i128(&mut self, _: &Field, _: i128) {}
    fn record_f64(&mut self, _: &Field, _: f64) {}
}

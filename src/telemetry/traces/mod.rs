//! The relay's own spans: what is told of an event's acceptance and of each delivery.
//!
//! A record is accepted in a short trace of its own, whose context is journaled with it; a delivery, which may come
//! hours later and carry many, is another trace, linked to the contexts that it carries.

mod accepting;
mod context;
mod ids;
mod sampling;
mod sending;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use opentelemetry_sdk::trace::SdkTracer;

pub use accepting::Accepting;
pub use ids::Ids;
pub use sampling::Sampling;
pub use sending::{Attempt, Carried, Outgoing, Sending, Target, Thread};

/// `messaging.system` of all spans: no registered one fits.
const SYSTEM: &str = "flipt_audit";

/// Makes spans, or none. Cheap to clone; all clones follow when it is switched. While it is off it costs the look
/// whether it is on.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    is_on: AtomicBool,
    live: RwLock<Option<Live>>,
}

/// What spans are made by.
#[derive(Debug, Clone)]
pub struct Live {
    /// Of a provider with [`Ids`] and a [`Sampling`], whose processor sends them.
    pub tracer: SdkTracer,
    /// What that provider decides by.
    pub sampling: Sampling,
    /// Whether contexts are read from, and written to, requests.
    pub propagates: bool,
}

impl Tracer {
    /// Makes spans by these means from now on, or none.
    pub fn switch(&self, live: Option<Live>) {
        self.0.is_on.store(live.is_some(), Ordering::Release);
        *self.0.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// Whether spans are made.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_on.load(Ordering::Acquire)
    }

    fn live(&self) -> Option<Live> {
        if !self.is_on() {
            return None;
        }
        self.0.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests;

//! What traces say of a lane's deliveries.

use std::collections::HashSet;
use std::time::{Instant, SystemTime};

use crate::destination::{Delivery, RenderContext, Rendered};
use crate::event::EventId;
use crate::telemetry::traces::{Carried, Outgoing, Sending, Thread, Tracer};

/// Makes the spans of one destination.
pub(super) struct Spans {
    tracer: Tracer,
    destination: String,
    destination_type: &'static str,
}

/// When a group was chosen to go.
pub(super) struct Begun(SystemTime, Instant);

impl Spans {
    pub(super) fn new(tracer: Tracer, destination: &str, destination_type: &'static str) -> Self {
        Self { tracer, destination: destination.to_owned(), destination_type }
    }

    /// A group is about to be rendered; `None` where no spans are made.
    pub(super) fn begin(&self) -> Option<Begun> {
        self.tracer.is_on().then(|| Begun(SystemTime::now(), Instant::now()))
    }

    /// It was rendered just now, and waits for its commit.
    pub(super) fn rendered(
        &self,
        begun: Option<Begun>,
        context: &RenderContext,
        deliveries: &[Delivery],
        rendered: &Rendered,
        thread: Option<Thread>,
    ) -> Option<Outgoing> {
        let Begun(begun, since) = begun?;
        let rendering = since.elapsed();
        // What was left out, or has no form here, does not go.
        let members: HashSet<EventId> =
            rendered.requests.iter().flat_map(|outbound| outbound.members.iter().copied()).collect();
        let going = || deliveries.iter().filter(|delivery| members.contains(&delivery.record.id));
        Some(Outgoing {
            destination: self.destination.clone(),
            destination_type: self.destination_type,
            batch_id: context.batch_id.as_str().to_owned(),
            attempt: context.attempt,
            is_replay: context.replay,
            carried: Carried::of(going().map(|delivery| &delivery.record)),
            environment: going().next().and_then(|delivery| delivery.environment.clone()),
            begun,
            rendering,
            thread,
        })
    }

    /// It goes now.
    pub(super) fn send(&self, outgoing: Option<Outgoing>) -> Sending {
        outgoing.map(|outgoing| self.tracer.send(outgoing)).unwrap_or_default()
    }
}

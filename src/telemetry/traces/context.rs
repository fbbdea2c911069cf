//! Trace contexts between headers, the journal and spans (<https://www.w3.org/TR/trace-context/>).

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::event::TraceContext;

/// The context that a record came with or was accepted in; `None` where what is there is no context.
pub(super) fn read(context: &TraceContext) -> Option<SpanContext> {
    let mut parts = context.traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let state = context.tracestate.as_deref().and_then(|state| state.parse().ok());
    let read = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        flags & TraceFlags::SAMPLED,
        true,
        state.unwrap_or_default(),
    );
    read.is_valid().then_some(read)
}

/// As the headers of that name carry it: no `tracestate` where there is none.
pub(super) fn write(context: &SpanContext) -> TraceContext {
    let flags = context.trace_flags() & TraceFlags::SAMPLED;
    let state = context.trace_state();
    TraceContext {
        traceparent: format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), flags.to_u8()),
        tracestate: (*state != TraceState::NONE).then(|| state.header()).filter(|header| !header.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(traceparent: &str, tracestate: Option<&str>) -> TraceContext {
        TraceContext { traceparent: traceparent.to_owned(), tracestate: tracestate.map(str::to_owned) }
    }

    #[test]
    fn what_is_read_is_written_alike() {
        for (flags, is_sampled) in [("00", false), ("01", true)] {
            let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
            for state in [None, Some("dd=s:1,other=x")] {
                let came = context(&text, state);
                let read = read(&came).unwrap();
                assert_eq!((read.is_sampled(), read.is_remote()), (is_sampled, true));
                assert_eq!(write(&read), came);
            }
        }
    }

    #[test]
    fn what_is_no_context_is_none() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c0-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-x1",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(&context(text, None)), None, "{text}");
        }
        let odd_state = context("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some("nonsense"));
        assert_eq!(write(&read(&odd_state).unwrap()).tracestate, None);
    }
}

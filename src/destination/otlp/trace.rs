//! The trace that a record is part of, as a log record says it.

use crate::event::TraceContext;

/// Trace id, span id and flags of a context; `None` of what is no valid `traceparent`
/// (<https://www.w3.org/TR/trace-context/>), which what another relay handed over may be.
pub(super) fn ids(context: &TraceContext) -> Option<(Vec<u8>, Vec<u8>, u32)> {
    let mut parts = context.traceparent.split('-');
    let mut part = |bytes: usize| {
        let decoded = hex::decode(parts.next()?).ok()?;
        (decoded.len() == bytes).then_some(decoded)
    };
    let (version, trace, span, flags) = (part(1)?, part(16)?, part(8)?, part(1)?);
    let is_known = |id: &[u8]| id.iter().any(|byte| *byte != 0);
    (version != [0xff] && is_known(&trace) && is_known(&span)).then(|| (trace, span, u32::from(flags[0])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_span_is_told() {
        let of = |traceparent: &str| {
            ids(&TraceContext { traceparent: traceparent.to_owned(), tracestate: Some("a=1".to_owned()) })
        };
        let (trace, span, flags) = of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03").unwrap();
        assert_eq!(hex::encode(trace), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((hex::encode(span).as_str(), flags), ("00f067aa0ba902b7", 3));
        assert!(of("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}

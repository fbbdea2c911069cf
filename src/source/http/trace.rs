//! The trace that a push is part of (<https://www.w3.org/TR/trace-context/>).

use axum::http::HeaderMap;

use crate::event::TraceContext;

/// How long a `tracestate` may be; the specification asks for 512 characters at least to be passed on.
const MAX_STATE: usize = 512;

/// From the headers of a request; `None` where there is no valid `traceparent`.
pub(super) fn read(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all("traceparent").iter();
    let (traceparent, None) = (all.next()?.to_str().ok()?, all.next()) else { return None };
    if !is_valid(traceparent) {
        return None;
    }
    let states: Option<Vec<&str>> =
        headers.get_all("tracestate").iter().map(|value| value.to_str().ok()).collect();
    let tracestate = states.map(|states| states.join(",")).filter(|state| {
        !state.is_empty()
            && state.len() <= MAX_STATE
            && state.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    });
    Some(TraceContext { traceparent: traceparent.to_owned(), tracestate })
}

/// `version-trace-parent-flags` in lower-case hex; later versions may have more behind it.
fn is_valid(text: &str) -> bool {
    let mut parts = text.splitn(5, '-');
    let mut part = |length: usize| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        parts.next().filter(|part| part.len() == length && part.bytes().all(is_hex))
    };
    let (Some(version), Some(trace), Some(parent), Some(_)) = (part(2), part(32), part(16), part(2)) else {
        return false;
    };
    let has_more = parts.next().is_some();
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    version != "ff"
        && (version != "00" || !has_more)
        && !is_zero(trace)
        && !is_zero(parent)
        && text.len() <= 128
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_what_is_valid_is_taken() {
        assert!(is_valid(PARENT));
        assert!(is_valid("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }

    #[test]
    fn states_of_several_lines_are_one() {
        let mut headers = HeaderMap::new();
        headers.append("tracestate", "a=1".parse().unwrap());
        assert_eq!(read(&headers), None);
        headers.append("traceparent", PARENT.parse().unwrap());
        headers.append("tracestate", "b=2".parse().unwrap());
        let trace = read(&headers).unwrap();
        assert_eq!((trace.traceparent.as_str(), trace.tracestate.as_deref()), (PARENT, Some("a=1,b=2")));
        headers.append("tracestate", "x".repeat(600).parse().unwrap());
        assert_eq!(read(&headers).unwrap().tracestate, None);
        headers.append("traceparent", PARENT.parse().unwrap());
        assert_eq!(read(&headers), None, "two parents are none");
    }
}

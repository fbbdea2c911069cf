//! The trace that a push is part of (<https://www.w3.org/TR/trace-context/>).

use axum::http::HeaderMap;

use crate::event::TraceContext;

/// From the headers of a request; `None` where there is no valid `traceparent`.
pub(super) fn read(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all("traceparent").iter();
    let (traceparent, None) = (all.next()?.to_str().ok()?, all.next()) else { return None };
    let states: Option<Vec<&str>> =
        headers.get_all("tracestate").iter().map(|value| value.to_str().ok()).collect();
    TraceContext::received(traceparent, states.map(|states| states.join(",")).as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

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

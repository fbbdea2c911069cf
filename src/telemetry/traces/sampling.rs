//! Which spans are kept.

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler as ByRatio, SamplingDecision, SamplingResult, ShouldSample};

use crate::telemetry::settings::Sampler;

/// Keeps a part of the traces. Where it is parent-based, the decision of a parent holds, and a span without one that
/// is linked to others, as a delivery is, is kept where any of them was: so a change is seen with each of its
/// deliveries, or not at all.
#[derive(Debug, Clone)]
pub struct Sampling(Sampler);

impl Sampling {
    /// By these settings.
    #[must_use]
    pub const fn new(sampler: Sampler) -> Self {
        Self(sampler)
    }
}

impl Sampling {
    /// Whether a span of this trace, below `parent` and linked to `links`, is kept.
    pub(super) fn keeps(&self, parent: Option<&SpanContext>, trace_id: TraceId, links: &[Link]) -> bool {
        match parent {
            Some(parent) if self.0.is_parent_based => parent.is_sampled(),
            None if self.0.is_parent_based && !links.is_empty() => {
                links.iter().any(|link| link.span_context.is_sampled())
            }
            _ => {
                // The SDK's own arithmetic, so that every service keeps the same traces.
                let by_ratio = ByRatio::TraceIdRatioBased(self.0.ratio);
                let decided = by_ratio.should_sample(None, trace_id, "", &SpanKind::Internal, &[], &[]);
                decided.decision == SamplingDecision::RecordAndSample
            }
        }
    }
}

impl ShouldSample for Sampling {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        _name: &str,
        _kind: &SpanKind,
        _attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let parent = parent.map(|parent| parent.span().span_context().clone()).filter(SpanContext::is_valid);
        let is_kept = self.keeps(parent.as_ref(), trace_id, links);
        SamplingResult {
            decision: if is_kept { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
            attributes: Vec::new(),
            trace_state: parent.map_or(TraceState::NONE, |parent| parent.trace_state().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanId, TraceFlags};

    fn context(trace: u128, is_sampled: bool) -> SpanContext {
        let flags = TraceFlags::default().with_sampled(is_sampled);
        SpanContext::new(TraceId::from(trace), SpanId::from(7), flags, true, TraceState::NONE)
    }

    fn link(is_sampled: bool) -> Link {
        Link::new(context(9, is_sampled), Vec::new(), 0)
    }

    fn keeps(is_parent_based: bool, ratio: f64, parent: Option<bool>, links: &[bool]) -> bool {
        let links: Vec<Link> = links.iter().map(|is_sampled| link(*is_sampled)).collect();
        let parent = parent.map(|is_sampled| context(1, is_sampled));
        Sampling::new(Sampler { is_parent_based, ratio }).keeps(
            parent.as_ref(),
            TraceId::from(u128::MAX),
            &links,
        )
    }

    #[test]
    fn whoever_decided_first_is_followed() {
        assert!(keeps(true, 0.0, Some(true), &[false]) && !keeps(true, 1.0, Some(false), &[true]));
        assert!(keeps(true, 0.0, None, &[false, true]) && !keeps(true, 1.0, None, &[false]));
        assert!(keeps(true, 1.0, None, &[]) && !keeps(true, 0.0, None, &[]));
    }

    #[test]
    fn a_plain_sampler_asks_nobody() {
        assert!(keeps(false, 1.0, Some(false), &[false]) && !keeps(false, 0.0, Some(true), &[true]));
    }

    #[test]
    fn one_in_ten_is_about_one_in_ten() {
        let sampling = Sampling::new(Sampler { is_parent_based: true, ratio: 0.1 });
        let ids = (0..10_000_u64).map(|n| TraceId::from(u128::from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))));
        let kept = ids.filter(|id| sampling.keeps(None, *id, &[])).count();
        assert!((900..1_100).contains(&kept), "{kept}");
    }
}

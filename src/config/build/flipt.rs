//! The Flipt to ask for what no event has told yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Judge;
use crate::config::plan::{FliptPlan, SourcePlan};
use crate::config::raw::Raw;

/// `None` where nothing is to be asked, or cannot be now.
pub(super) fn build(
    raw: &Raw,
    sources: &BTreeMap<String, SourcePlan>,
    judge: &mut Judge<'_>,
) -> Option<FliptPlan> {
    if judge.context.flipt_is_blocked {
        judge.warn("flipt", "nothing is asked of Flipt: its address or its token cannot be read");
        return None;
    }
    if raw.flipt.token.is_some() && !judge.is_written("flipt.url") {
        judge.warn("flipt.token", "not used without `flipt.url`");
    }
    let url = raw.flipt.url.as_ref()?;
    Some(FliptPlan {
        url: Arc::new(url.0.clone()),
        token: raw.flipt.token.as_ref().map(|token| token.0.clone()),
        external_url: raw.flipt.external_url.as_ref().map(|url| url.0.expose().to_owned()),
        instance: instance(raw, sources, judge)?,
    })
}

/// The instance that is written, or the only one there is.
fn instance(raw: &Raw, sources: &BTreeMap<String, SourcePlan>, judge: &mut Judge<'_>) -> Option<String> {
    let mut names: Vec<&str> = sources.values().map(|source| source.instance.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    match (&raw.flipt.instance, names.as_slice()) {
        (Some(written), _) if names.contains(&written.0.as_str()) => Some(written.0.clone()),
        // Sources that are written wrongly are told of where they stand.
        (_, []) => None,
        (Some(written), _) => {
            judge.unknown("flipt.instance", "no source belongs to it", &written.0, &names);
            None
        }
        (None, [only]) => Some((*only).to_owned()),
        (None, _) => {
            let expected = format!("`instance: {}` or another of them", names[0]);
            judge.problem("flipt", "sources belong to several instances, and this is one", Some(&expected));
            None
        }
    }
}

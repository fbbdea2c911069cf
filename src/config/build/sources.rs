//! Sources, and what they could do to each other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Judge, intake};
use crate::config::plan::{FileSourcePlan, ReadFrom, Reclaim, SourceKind, SourcePlan, WatchMode};
use crate::config::raw::Raw;
use crate::config::raw::source::{
    FileSource, FramingWord, ReadFromWord, ReclaimWord, Source, SourceCommon, WatchWord,
};
use crate::config::secrets::References;
use crate::event::Framing;

pub(super) fn build(raw: &Raw, judge: &mut Judge<'_>) -> BTreeMap<String, SourcePlan> {
    let mut plans = BTreeMap::new();
    for (name, source) in &raw.sources {
        let path = format!("sources.{name}");
        let (common, kind) = match source {
            Source::File(source) => (&source.common, SourceKind::File(file(&path, source, judge))),
            Source::Http(source) => {
                (&source.common, SourceKind::Http(intake::http(name, &path, source, judge)))
            }
        };
        plans.insert(name.clone(), plan(common, kind));
    }
    writers(raw, &mut plans, judge);
    intake::addresses(&plans, judge);
    overlaps(&plans, judge);
    plans
}

fn plan(common: &SourceCommon, kind: SourceKind) -> SourcePlan {
    SourcePlan {
        instance: common.instance.0.clone(),
        environment: common.environment.as_ref().map(|name| Arc::from(name.0.as_str())),
        single_writer: common.single_writer.unwrap_or(true),
        silent_after: common.silent_after.0,
        kind,
    }
}

fn file(path: &str, source: &FileSource, judge: &mut Judge<'_>) -> FileSourcePlan {
    for (index, glob) in source.path.0.iter().enumerate() {
        let at = format!("{path}.path[{index}]");
        if takes_copies(&glob.0) {
            let message = if source.include_rotated {
                "this glob takes rotated copies too: what such a copy holds may be read twice"
            } else {
                "this glob also matches rotated copies such as `audit.log.1`; those are skipped"
            };
            judge.warn(&at, message);
        } else if judge.context.references == References::Require
            && !is_glob(&glob.0)
            && !PathBuf::from(&glob.0).exists()
        {
            judge.warn(&at, "there is no such file yet; it will be waited for");
        }
    }
    for (key, duration) in
        [("poll_interval", source.poll_interval.0), ("rotated_idle", source.rotated_idle.0)]
    {
        if duration.is_zero() {
            judge.problem(&format!("{path}.{key}"), "no time at all", Some("a longer duration"));
        }
    }
    FileSourcePlan {
        paths: source.path.0.iter().map(|glob| glob.0.clone()).collect(),
        framing: match source.framing {
            FramingWord::Auto => Framing::Auto,
            FramingWord::Cri => Framing::Cri,
        },
        read_from: match source.read_from {
            ReadFromWord::Beginning => ReadFrom::Beginning,
            ReadFromWord::End => ReadFrom::End,
        },
        max_event_bytes: usize::try_from(source.max_event.0).unwrap_or(4 << 20),
        rotated_dir: source.rotated_dir.as_ref().map(|path| PathBuf::from(&path.0)),
        rotated_idle: source.rotated_idle.0,
        include_rotated: source.include_rotated,
        poll_interval: source.poll_interval.0,
        watch: match source.watch {
            WatchWord::Auto => WatchMode::Auto,
            WatchWord::Poll => WatchMode::Poll,
        },
        reclaim: match source.reclaim {
            ReclaimWord::Off => Reclaim::Off,
            ReclaimWord::PunchHole => Reclaim::PunchHole,
        },
    }
}

pub(super) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Whether a glob takes `X.1` where it takes `X`.
fn takes_copies(pattern: &str) -> bool {
    is_glob(pattern)
        && glob::Pattern::new(pattern)
            .is_ok_and(|glob| glob.matches(&format!("{}.1", pattern.replace(['*', '?'], "a"))))
}

/// Decides which sources see all of their Flipt, where nobody says so: those that are its only one.
fn writers(raw: &Raw, plans: &mut BTreeMap<String, SourcePlan>, judge: &mut Judge<'_>) {
    let mut sources_of: BTreeMap<String, usize> = BTreeMap::new();
    for plan in plans.values() {
        *sources_of.entry(plan.instance.clone()).or_default() += 1;
    }
    let mut told: Vec<String> = Vec::new();
    for (name, plan) in plans.iter_mut() {
        let written = raw.sources.get(name).and_then(|source| source.common().single_writer);
        if written.is_some() {
            continue;
        }
        let path = format!("sources.{name}");
        plan.single_writer = sources_of.get(&plan.instance) == Some(&1);
        if !plan.single_writer && !told.contains(&plan.instance) {
            let message = format!(
                "the instance `{}` has several sources: the state before a change is not told for it (write \
                 `single_writer: true` on those of its sources that see every change)",
                plan.instance
            );
            judge.warn(&path, &message);
            told.push(plan.instance.clone());
        }
        if let SourceKind::File(file) = &plan.kind
            && plan.single_writer
            && let Some(index) = file.paths.iter().position(|path| is_glob(directory(path)))
        {
            let message = "several replicas of Flipt may write here: the state before a change is not told (write \
                           `single_writer: true` if this source sees every change, in order)";
            judge.warn(&format!("{path}.path[{index}]"), message);
            plan.single_writer = false;
        }
    }
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Tells of sources of one Flipt through which the same events could come twice.
fn overlaps(plans: &BTreeMap<String, SourcePlan>, judge: &mut Judge<'_>) {
    let all: Vec<_> = plans.iter().collect();
    for (index, (first, one)) in all.iter().enumerate() {
        for (second, other) in &all[index + 1..] {
            let why = match (&one.kind, &other.kind) {
                (SourceKind::File(a), SourceKind::File(b)) => {
                    let same = a.paths.iter().any(|a| b.paths.iter().any(|b| overlap(a, b)));
                    for (name, file) in [(first, a), (second, b)] {
                        if same && file.reclaim == Reclaim::PunchHole {
                            let message = format!(
                                "`{first}` and `{second}` could read the same file: what one gives back the other may \
                                 not have read"
                            );
                            let path = format!("sources.{name}.reclaim");
                            judge.problem(&path, &message, Some("a file of its own, or `off`"));
                        }
                    }
                    same.then(|| {
                        format!("it could read the same file as `{first}`: its events would come twice")
                    })
                }
                (SourceKind::Http(_), SourceKind::Http(_)) => None,
                _ if one.instance == other.instance => Some(format!(
                    "it belongs to the same Flipt as `{first}` (instance `{}`): with both of Flipt's sinks on, each event comes twice",
                    one.instance
                )),
                _ => None,
            };
            if let Some(why) = why {
                judge.warn(&format!("sources.{second}"), &why);
            }
        }
    }
}

fn overlap(a: &str, b: &str) -> bool {
    let takes = |pattern: &str, path: &str| glob::Pattern::new(pattern).is_ok_and(|glob| glob.matches(path));
    a == b || (!is_glob(b) && takes(a, b)) || (!is_glob(a) && takes(b, a))
}

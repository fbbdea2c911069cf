//! What operators did, in plain words.

use super::phrase::Line;
use super::words::{count, name};
use super::{Role, Sentence, Tone};
use crate::event::text::one_line;
use crate::event::{Origin, StoredRecord};
use crate::journal::{Act, ActKind};

const REASON_CHARACTERS: usize = 200;

/// `ann (1000) paused destination siem · maintenance`.
pub(super) fn tell(record: &StoredRecord) -> Sentence {
    let mut line = Line::new();
    match serde_json::from_slice::<Act>(&record.original) {
        Ok(act) => told(&mut line, &act, record.origin.as_ref()),
        // As a later release may write one.
        Err(_) => drop(line.plain("An operator acted on the relay")),
    }
    line.end(Tone::Other)
}

fn told(line: &mut Line, act: &Act, origin: Option<&Origin>) {
    let by = match &*act.by {
        "audit-relay" | "" => "The relay".into(),
        other => name(other),
    };
    let to = act.destination.as_deref().map(name);
    let destination =
        to.as_ref().map_or_else(|| "a destination".to_owned(), |to| format!("destination {to}"));
    let many = |noun| act.records.map(|records| count(records, noun));
    let what = match act.act {
        ActKind::Pause => format!("paused {destination}"),
        ActKind::Resume => format!("resumed {destination}"),
        ActKind::Purge => {
            format!(
                "purged {} of {destination}",
                many("dead letter").unwrap_or_else(|| "dead letters".into())
            )
        }
        ActKind::Replay => {
            format!(
                "asked for {} to be sent again to {destination}",
                many("record").unwrap_or_else(|| "records".into())
            )
        }
        ActKind::Configure => "applied another configuration".to_owned(),
        ActKind::Release => format!("let go of {destination}"),
        ActKind::Rename => match act.detail.get("renamed_from").and_then(serde_json::Value::as_str) {
            Some(from) => format!("took over the place of destination {} for {destination}", name(from)),
            None => format!("took over the place of another destination for {destination}"),
        },
    };
    line.add(Role::Actor, &by).plain(" ").plain(&what);
    if let Some(origin) = origin {
        line.plain(&format!(" of relay {}", name(&origin.relay)));
    }
    if act.act == ActKind::Release
        && let Some(records) = many("waiting record")
    {
        line.plain(&format!(" · {records} given up"));
    }
    if let Some(until) = act.detail.get("until").and_then(serde_json::Value::as_str) {
        line.plain(&format!(" until {}", name(until)));
    }
    if let Some(reason) = act.reason.as_deref().map(|reason| one_line(reason, REASON_CHARACTERS)) {
        line.plain(" · ").plain(&reason);
    }
}

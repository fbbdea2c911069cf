//! Carries out what operators ask.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Command, Office, Refusal, changes, explain, gather, letters, preview, words};
use crate::delivery::LaneOrder;
use crate::event::Timestamp;
use crate::journal::{Act, ActKind, DeadLetterSelection, NewReplay, Pause, ReplayId, ReplaySelection};
use crate::source::file::{FileSource, import};

/// Dead letters in one answer, at most.
const MAX_LETTERS: usize = 1_000;

/// Kinds of destination where each record calls somebody to look.
const CHATTY: [&str; 2] = ["slack", "datadog"];

/// Ids that the record of an act names, at most.
const MAX_NAMED: usize = 100;

/// Characters of a reason that are kept.
const MAX_REASON: usize = 500;

/// How long a lane may take to hear of an act.
const HEARING: Duration = Duration::from_secs(5);

/// Does what `command` says; `by` is whoever asks, as it is kept in the record of the act.
///
/// # Errors
/// Why nothing was done.
pub async fn carry_out(command: Command, by: &str, office: &Office) -> Result<Answer, Refusal> {
    match command {
        Command::Status => Ok(Answer::Status(Box::new(gather::report(office, Timestamp::now()).await?))),
        Command::DeadLetters { selection, after, limit } => {
            know_selected(office, &selection).await?;
            let (letters, after) = letters::list(office, selection, after, limit.min(MAX_LETTERS)).await?;
            Ok(Answer::DeadLetters { letters, after })
        }
        Command::DeadLetter { id, destination } => {
            if let Some(destination) = &destination {
                office.know(destination).await?;
            }
            Ok(Answer::DeadLetter(letters::show(office, id, destination).await?))
        }
        Command::Changes(asked) => Ok(Answer::Changes(changes::page(office, asked).await?)),
        Command::Explain(asked) => explain::explain(office, asked).await,
        Command::Purge { selection, confirmed } => purge(office, selection, confirmed, by).await,
        Command::Replay { replay, dry_run, confirmed } => {
            start_replay(office, replay, dry_run, confirmed, by).await
        }
        Command::ReplayProgress { id } => replay_progress(office, id).await,
        Command::Pause { destination, for_seconds, reason } => {
            pause(office, destination, for_seconds, reason, by).await
        }
        Command::Resume { destination, reason } => resume(office, destination, reason, by).await,
        Command::Backup { file } => backup(office, file).await,
        Command::Import { file, source, journal_only } => take_in(office, file, source, journal_only).await,
    }
}

async fn know_selected(office: &Office, selection: &DeadLetterSelection) -> Result<(), Refusal> {
    match &selection.destination {
        Some(destination) => office.know(destination).await,
        None => Ok(()),
    }
}

/// One destination after the other, so that each act and each lane knows its own number.
async fn purge(
    office: &Office,
    selection: DeadLetterSelection,
    confirmed: bool,
    by: &str,
) -> Result<Answer, Refusal> {
    know_selected(office, &selection).await?;
    let _one_at_a_time = office.acting.lock().await;
    if !confirmed {
        return Ok(Answer::Purged { records: letters::count(office, &selection).await?, done: false });
    }
    let mut records = 0;
    for row in office.journal.destinations().await? {
        if selection.destination.as_ref().is_some_and(|name| *name != row.name) {
            continue;
        }
        let of_one = DeadLetterSelection { destination: Some(row.name.clone()), ..selection.clone() };
        if office.journal.dead_letters(of_one.clone(), None, 1).await?.is_empty() {
            continue;
        }
        let act = Act::new(ActKind::Purge, &row.name, by);
        let purged = office.journal.purge_dead_letters(of_one, act).await?;
        tell(office, &row.name, LaneOrder::Purged).await;
        records += purged;
    }
    Ok(Answer::Purged { records, done: true })
}

async fn start_replay(
    office: &Office,
    replay: NewReplay,
    dry_run: bool,
    confirmed: bool,
    by: &str,
) -> Result<Answer, Refusal> {
    office.know_configured(&replay.destination)?;
    may_be_replayed(office, &replay)?;
    let plan = office.plan();
    let plan = plan.destinations.get(&replay.destination);
    let is_chatty = plan.is_some_and(|destination| CHATTY.contains(&destination.type_word));
    if dry_run || is_chatty && !confirmed {
        return Ok(Answer::Preview(preview::preview(office, replay, !dry_run).await?));
    }
    let _one_at_a_time = office.acting.lock().await;
    let act = Act { detail: replayed(&replay), ..Act::new(ActKind::Replay, &replay.destination, by) };
    let row = office.journal.create_replay(replay, act).await?;
    tell(office, &row.destination, LaneOrder::Replay).await;
    let state = gather::state(office, &row.destination);
    Ok(Answer::Replay { row, state })
}

/// Refuses what would never be sent, or would send what nobody named.
fn may_be_replayed(office: &Office, replay: &NewReplay) -> Result<(), Refusal> {
    let name = &replay.destination;
    if let Some(plan) = office.plan().destinations.get(name) {
        let keeps = if plan.observe { "observe" } else { "discard" };
        if plan.observe || plan.discard {
            return Err(Refusal::usage(format!("{name} has `{keeps}: true`: nothing is sent to it")));
        }
    }
    let ReplaySelection::Range { events, .. } = &replay.selection else { return Ok(()) };
    match events
        .iter()
        .find(|event| event.split_once(':').is_none_or(|(noun, verb)| noun.is_empty() || verb.is_empty()))
    {
        Some(event) => Err(Refusal::usage(format!(
            "`{}` is no event pattern; expected Flipt's `noun:verb` such as `flag:updated` or `*:deleted`",
            words::brief(event, 80)
        ))),
        None => Ok(()),
    }
}

/// What an act replays, beside the destination that it names.
fn replayed(replay: &NewReplay) -> Value {
    let selection = match &replay.selection {
        ReplaySelection::Ids(ids) => ReplaySelection::Ids(ids.iter().copied().take(MAX_NAMED).collect()),
        other => other.clone(),
    };
    json!({ "selection": selection, "rate": replay.rate })
}

async fn replay_progress(office: &Office, id: ReplayId) -> Result<Answer, Refusal> {
    let row = office.journal.replays(false).await?.into_iter().find(|row| row.id == id);
    let row = row.ok_or_else(|| Refusal::usage(format!("there is no replay {}", id.0)))?;
    let state = gather::state(office, &row.destination);
    Ok(Answer::Replay { row, state })
}

async fn pause(
    office: &Office,
    destination: String,
    for_seconds: Option<u64>,
    reason: Option<String>,
    by: &str,
) -> Result<Answer, Refusal> {
    office.know_configured(&destination)?;
    let _one_at_a_time = office.acting.lock().await;
    let at = Timestamp::now();
    let until = for_seconds.map(|seconds| at.plus(Duration::from_secs(seconds)));
    let reason = reason.map(|reason| words::brief(&reason, MAX_REASON));
    let pause = Pause { at, until, by: Some(by.to_owned()), reason };
    let act = Act::new(ActKind::Pause, &destination, by);
    office.journal.pause_destination(&destination, pause.clone(), act).await?;
    tell(office, &destination, LaneOrder::Pause(pause)).await;
    Ok(Answer::Paused { until })
}

async fn resume(
    office: &Office,
    destination: String,
    reason: Option<String>,
    by: &str,
) -> Result<Answer, Refusal> {
    office.know_configured(&destination)?;
    let _one_at_a_time = office.acting.lock().await;
    let was = gather::state(office, &destination);
    let reason = reason.map(|reason| words::brief(&reason, MAX_REASON));
    let act = Act { reason, ..Act::new(ActKind::Resume, &destination, by) };
    let row = office.journal.resume_destination(&destination, act).await?;
    tell(office, &destination, LaneOrder::Resume).await;
    let was = if office.standing().lanes.contains_key(&destination) {
        was
    } else {
        gather::state_of_row(&row).to_owned()
    };
    Ok(Answer::Resumed { was })
}

async fn backup(office: &Office, file: PathBuf) -> Result<Answer, Refusal> {
    if !file.is_absolute() {
        return Err(Refusal::usage(format!("{} is no absolute path", file.display())));
    }
    if file.symlink_metadata().is_ok() {
        return Err(Refusal::failure(format!("{} is there already; it is left as it is", file.display())));
    }
    Ok(Answer::BackedUp { bytes: office.journal.backup(file).await? })
}

async fn take_in(
    office: &Office,
    file: PathBuf,
    source: String,
    journal_only: bool,
) -> Result<Answer, Refusal> {
    let Ok(turn) = Arc::clone(&office.importing).try_lock_owned() else {
        return Err(Refusal::failure("another import is under way"));
    };
    let Some(source) = FileSource::planned(&office.plan(), &source, &office.journal) else {
        return Err(Refusal::usage(format!("the configuration of the relay has no file source `{source}`")));
    };
    let imported = tokio::task::spawn_blocking(move || {
        // It goes on to its end when nobody waits for it any more, and so does its turn.
        let _turn = turn;
        import(&source, &file, journal_only)
    });
    let imported = imported.await.map_err(|error| Refusal::failure(error.to_string()))?;
    let imported = imported.map_err(|error| Refusal::failure(error.to_string()))?;
    Ok(Answer::Imported {
        accepted: imported.accepted,
        known: imported.known,
        unreadable: imported.unreadable,
        ignored: imported.ignored,
    })
}

/// Tells a lane what the journal knows already.
async fn tell(office: &Office, destination: &str, order: LaneOrder) {
    let standing = office.standing();
    let Some(lane) = standing.lanes.get(destination) else { return };
    // One that has ended needs to hear nothing.
    if tokio::time::timeout(HEARING, lane.orders.send(order)).await.is_err() {
        tracing::error!(
            destination,
            "the lane does not listen; what was decided is journaled, and holds from the next start on"
        );
    }
}

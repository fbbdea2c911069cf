//! The memory that all bodies share, and who has to give it back: one who has not shown who it is must not keep
//! it from the others by sending slowly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long to wait for what others were told to give back: they do so when they are next looked at.
const GIVEN_BACK: Duration = Duration::from_secs(1);

/// The memory for bodies.
pub(super) struct Room {
    free: Arc<Semaphore>,
    strangers: Mutex<Strangers>,
}

/// Those who hold some of it for a body that is not whole, and have not shown who they are: the one that has
/// held it for longest first.
#[derive(Default)]
struct Strangers {
    next: u64,
    holding: BTreeMap<u64, Holding>,
}

struct Holding {
    bytes: usize,
    dismissed: CancellationToken,
}

/// What one body holds.
pub(super) struct Share<'r> {
    room: &'r Room,
    is_stranger: bool,
    number: Option<u64>,
    held: Option<OwnedSemaphorePermit>,
    /// Cancelled when others need it: to be dropped then.
    pub(super) dismissed: CancellationToken,
}

impl Room {
    /// Of so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let free = Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        Self { free, strangers: Mutex::default() }
    }

    /// For a body that begins; a stranger may have to give its share back before it is whole.
    pub(super) fn share(&self, is_stranger: bool) -> Share<'_> {
        Share { room: self, is_stranger, number: None, held: None, dismissed: CancellationToken::new() }
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has strangers give so many bytes back, those who have held theirs for longest; false, and nobody has to,
    /// where all of them together have less.
    fn clear(&self, bytes: usize, except: Option<u64>) -> bool {
        let mut strangers = self.strangers();
        let mut missing = bytes.saturating_sub(self.free.available_permits());
        let mut leaving = Vec::new();
        for (number, holding) in strangers.holding.iter().filter(|(number, _)| Some(**number) != except) {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(holding.bytes);
            leaving.push(*number);
        }
        if missing > 0 {
            return false;
        }
        for number in leaving {
            if let Some(holding) = strangers.holding.remove(&number) {
                holding.dismissed.cancel();
            }
        }
        true
    }
}

impl Share<'_> {
    /// Takes more; false where there is none.
    pub(super) async fn take(&mut self, bytes: usize) -> bool {
        let Ok(size) = u32::try_from(bytes) else { return false };
        let more = match Arc::clone(&self.room.free).try_acquire_many_owned(size) {
            Ok(more) => more,
            Err(_) => {
                if !self.room.clear(bytes, self.number) {
                    return false;
                }
                let given_back = Arc::clone(&self.room.free).acquire_many_owned(size);
                match tokio::time::timeout(GIVEN_BACK, given_back).await {
                    Ok(Ok(more)) => more,
                    _ => return false,
                }
            }
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        if self.is_stranger {
            let mut strangers = self.room.strangers();
            let number = *self.number.get_or_insert_with(|| {
                strangers.next += 1;
                strangers.next
            });
            let dismissed = self.dismissed.clone();
            if !dismissed.is_cancelled() {
                let holding = strangers.holding.entry(number).or_insert(Holding { bytes: 0, dismissed });
                holding.bytes += bytes;
            }
        }
        true
    }

    /// The body is whole: nobody takes it back any more.
    pub(super) fn keep(mut self) -> Option<OwnedSemaphorePermit> {
        self.held.take()
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.room.strangers().holding.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn strangers_make_room_the_longest_first_and_only_as_many_as_it_takes() {
        let room = Room::new(100);
        let mut known = room.share(false);
        assert!(known.take(40).await);
        let (mut first, mut second) = (room.share(true), room.share(true));
        assert!(first.take(10).await && second.take(40).await && first.take(10).await);

        let mut third = room.share(true);
        let (first_leaves, second_stays) = (first.dismissed.clone(), second.dismissed.clone());
        let leaving = async {
            first_leaves.cancelled().await;
            drop(first);
        };
        let (took, ()) = tokio::join!(third.take(15), leaving);
        assert!(took && !second_stays.is_cancelled());

        // One who would have to drive out those who are known, or itself, gets nothing, and nobody has to leave.
        assert!(!third.take(90).await && !second_stays.is_cancelled());
        drop(second);
        // Whose body is whole keeps it.
        let kept = third.keep();
        assert!(!room.share(false).take(60).await);
        drop((kept, known));
        assert!(room.share(true).take(100).await);
        assert!(room.strangers().holding.is_empty());
    }
}

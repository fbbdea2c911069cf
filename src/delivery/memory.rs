//! One budget of memory for the records that all lanes hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all lanes together may hold beyond what each may hold in any case, in bytes.
const SHARED_BYTES: u64 = 16 << 20;

/// What each lane may hold in any case, in bytes.
const OWN_BYTES: u64 = 1 << 20;

/// The budget; cheap to clone, clones share it.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    used_bytes: Arc<AtomicU64>,
}

/// What one lane holds of the budget.
#[derive(Debug)]
pub(super) struct Share {
    memory: Memory,
    held_bytes: u64,
}

impl Memory {
    pub(super) fn share(&self) -> Share {
        Share { memory: self.clone(), held_bytes: 0 }
    }
}

impl Share {
    /// The lane holds this much now.
    pub(super) fn hold(&mut self, bytes: u64) {
        let beyond = bytes.saturating_sub(OWN_BYTES);
        let before = std::mem::replace(&mut self.held_bytes, beyond);
        if beyond >= before {
            self.memory.used_bytes.fetch_add(beyond - before, Ordering::Relaxed);
        } else {
            self.memory.used_bytes.fetch_sub(before - beyond, Ordering::Relaxed);
        }
    }

    /// Whether the lane may hold more than it does.
    pub(super) fn may_grow(&self) -> bool {
        self.held_bytes == 0 || self.memory.used_bytes.load(Ordering::Relaxed) < SHARED_BYTES
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_has_its_own_part_and_all_share_the_rest() {
        let memory = Memory::default();
        let (mut greedy, mut modest) = (memory.share(), memory.share());
        greedy.hold(SHARED_BYTES + 2 * OWN_BYTES);
        modest.hold(OWN_BYTES);
        assert!(!greedy.may_grow() && modest.may_grow());
        modest.hold(OWN_BYTES + 1);
        assert!(!modest.may_grow());
        drop(greedy);
        assert!(modest.may_grow());
    }
}

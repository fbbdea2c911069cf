//! The members of a family, in a list: most families have few, and very many are kept in mind.

use super::Member;
use crate::event::{Entity, EntityKind};

/// Sorted by entity.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    list: Vec<(Entity, Member)>,
    bytes: usize,
}

impl Members {
    fn place(&self, kind: EntityKind, id: &str) -> Result<usize, usize> {
        self.list.binary_search_by(|(entity, _)| (entity.kind, entity.id.as_str()).cmp(&(kind, id)))
    }

    /// About what they take in memory, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn find(&self, kind: EntityKind, id: &str) -> Option<&Member> {
        self.place(kind, id).ok().map(|at| &self.list[at].1)
    }

    pub(super) fn get(&self, entity: &Entity) -> Option<&Member> {
        self.find(entity.kind, &entity.id)
    }

    pub(super) fn insert(&mut self, entity: Entity, member: Member) {
        self.bytes += size_of(&entity, &member);
        match self.place(entity.kind, &entity.id) {
            Ok(at) => {
                let former = std::mem::replace(&mut self.list[at].1, member);
                self.bytes -= size_of(&entity, &former);
            }
            Err(at) => {
                // Doubling would be a waste for the many families of one member.
                if self.list.len() < 4 {
                    self.list.reserve_exact(1);
                }
                self.list.insert(at, (entity, member));
            }
        }
    }

    /// Changes a member, if it is there.
    pub(super) fn update(&mut self, entity: &Entity, change: impl FnOnce(&mut Member)) {
        if let Ok(at) = self.place(entity.kind, &entity.id) {
            let member = &mut self.list[at].1;
            self.bytes -= size_of(entity, member);
            change(member);
            self.bytes += size_of(entity, member);
        }
    }

    pub(super) fn remove(&mut self, entity: &Entity) {
        if let Ok(at) = self.place(entity.kind, &entity.id) {
            let (entity, member) = self.list.remove(at);
            self.bytes -= size_of(&entity, &member);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Entity, &Member)> {
        self.list.iter().map(|(entity, member)| (entity, member))
    }
}

fn size_of(entity: &Entity, member: &Member) -> usize {
    176 + entity.id.len() + member.state().map_or(0, str::len)
}

//! What is found out when somebody asks for it.

use std::fmt;

/// A fact, or the way to it; `None`: it is not known, or there is none.
#[derive(Clone, Copy)]
pub enum Lazy<'a, T> {
    /// It is at hand.
    There(Option<T>),
    /// Asking finds it out. Who is asked remembers: the second time costs nothing.
    Ask(&'a dyn Fn() -> Option<T>),
}

impl<T: Copy> Lazy<'_, T> {
    /// The fact.
    #[must_use]
    pub fn get(&self) -> Option<T> {
        match self {
            Self::There(fact) => *fact,
            Self::Ask(find) => find(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Lazy<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::There(fact) => fact.fmt(f),
            Self::Ask(_) => f.write_str("(not asked for)"),
        }
    }
}

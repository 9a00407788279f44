//! Names and numbers that both models share.

use std::fmt;

/// Voters of the cluster.
pub const MEMBERS: usize = 3;

/// How many of them decide.
pub const QUORUM: u32 = 2;

/// The longest promise, and the wait after a start, in ticks. Two, so that there is a shorter one.
pub const PROMISE_MAX: u8 = 2;

/// A member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u8);

impl Id {
    /// Every member.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..3).map(Self)
    }

    /// The other members.
    pub fn others(self) -> impl Iterator<Item = Self> {
        Self::all().filter(move |id| *id != self)
    }

    /// Its place in arrays.
    #[must_use]
    pub fn at(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
}

/// A term; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u8);

impl Term {
    /// The term after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Its place in arrays.
    #[must_use]
    pub fn at(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

/// Some of the members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Set(u8);

impl Set {
    /// This and `id`.
    #[must_use]
    pub fn with(self, id: Id) -> Self {
        Self(self.0 | 1 << id.0)
    }

    /// This without `id`.
    #[must_use]
    pub fn without(self, id: Id) -> Self {
        Self(self.0 & !(1 << id.0))
    }

    /// Whether `id` is among them.
    #[must_use]
    pub fn has(self, id: Id) -> bool {
        self.0 & 1 << id.0 != 0
    }

    /// A bit for each.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// How many they are.
    #[must_use]
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The same members under other names.
    #[must_use]
    pub fn renamed(self, name: impl Fn(Id) -> Id) -> Self {
        Id::all()
            .filter(|id| self.has(*id))
            .fold(Self::default(), |set, id| set.with(name(id)))
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(Id::all().filter(|id| self.has(*id)))
            .finish()
    }
}

//! What may happen to an agent at one of its effects, which are counted over all machines.

/// What happens at an effect: an op, or an announcement or probe of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfortune {
    /// The agent is killed right after the effect with this number.
    KilledAfter(u64),
    /// The agent is killed right before it: all is prepared, but the effect does not happen.
    KilledBefore(u64),
    /// The kernel refuses it.
    Refused(u64),
}

/// Effects so far, and the next misfortune.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// How many were tried.
    pub tried: u64,
    pub misfortune: Option<Misfortune>,
}

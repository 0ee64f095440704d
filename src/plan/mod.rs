//! The ordered ops from the observed to the desired state. A plan is a value: one text serves log, dry run and tests.

mod diff;
mod op;
mod phase;

pub use diff::{Plan, plan};
pub use op::{ArpChange, IpvsChange, Op, Subject};
pub use phase::Phase;

#[cfg(test)]
mod tests;

//! Desired − observed, owned → ordered ops. A plan is a value: the same text serves as log, dry run and test.

mod diff;
mod op;
mod phase;

pub use diff::{Plan, plan};
pub use op::{ArpChange, IpvsChange, Op, Subject};
pub use phase::Phase;

#[cfg(test)]
mod tests;

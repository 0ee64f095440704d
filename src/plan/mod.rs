//! Desired − observed, owned → ordered ops. A plan is a value: the same text serves as log, dry run and test.

mod op;
mod phase;

pub use op::{Op, SetArp, Subject};
pub use phase::Phase;

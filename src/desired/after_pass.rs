use crate::model::{NodeName, Observed, Snapshot};

use super::{Admission, Desired};

/// What is known after a pass: by it the node's part in the elections follows, and what it reports.
#[derive(Clone, Copy, Debug)]
pub struct AfterPass<'a> {
    /// This node.
    pub node: &'a NodeName,
    /// The content of the sources.
    pub snapshot: &'a Snapshot,
    /// Which VirtualServices are served.
    pub admission: &'a Admission<'a>,
    /// What the node should have.
    pub desired: &'a Desired,
    /// What the kernel shows after the ops of this pass.
    pub observed: &'a Observed,
}

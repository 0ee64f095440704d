use jiff::Timestamp;

/// Changes of one kind that others made on a node, and that directway put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// How often, since the agent's start.
    pub count: u64,
    /// When first, by the node's clock.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
    /// The last change that put something right, as a command.
    pub example: String,
}

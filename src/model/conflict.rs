use std::{collections::BTreeMap, fmt};

use super::{Mac, NodeName};

/// Hosts that answer for a VIP, with the node's name as far as known.
pub type Rivals = BTreeMap<Mac, Option<NodeName>>;

/// Other hosts answer for a VIP that this node holds or may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflict {
    /// This node's MAC, if it holds the VIP itself.
    pub own: Option<Mac>,
    /// The other hosts.
    pub rivals: Rivals,
}

/// The rivals: `02:00:00:00:00:0b (node r1), 02:00:00:00:00:63`.
impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (mac, node)) in self.rivals.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            mac.fmt(f)?;
            if let Some(node) = node {
                write!(f, " (node {node})")?;
            }
        }
        Ok(())
    }
}

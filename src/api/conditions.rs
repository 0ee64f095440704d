//! Condition types and their reasons: closed sets.

use std::fmt;

use crate::model::{Reason, words};

words! {
    /// The conditions of a VirtualService.
    pub enum ConditionType {
        /// The spec is valid and collides with no older VirtualService.
        Accepted = "Accepted",
        /// The holder has done its part: the VIP is on its NIC, the services are in its kernel.
        Programmed = "Programmed",
        /// Clients are served: accepted, programmed, and at least one real server gets new connections.
        Ready = "Ready",
        /// Another host on the segment answers for a VIP.
        VipConflict = "VIPConflict",
        /// kube-proxy on a director deletes a VIP's services, or will.
        KubeProxyConflict = "KubeProxyConflict",
        /// Another program on a node undoes again and again what directway sets up there for a VIP.
        NodeConflict = "NodeConflict",
    }
}

/// The word in `status.conditions[].reason`: either a reason why not, or what is the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionReason {
    /// Accepted is true.
    Valid,
    /// Programmed is true.
    Programmed,
    /// Ready is true.
    Serving,
    /// VIPConflict, KubeProxyConflict or NodeConflict is false.
    NoConflict,
    /// Some real servers get connections, others don't.
    Degraded,
    /// No director answers for the VIP.
    NotHeld,
    /// A reason why not.
    Refused(Reason),
}

impl ConditionReason {
    /// The CamelCase word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "Valid",
            Self::Programmed => "Programmed",
            Self::Serving => "Serving",
            Self::NoConflict => "NoConflict",
            Self::Degraded => "Degraded",
            Self::NotHeld => "NotHeld",
            Self::Refused(reason) => reason.name(),
        }
    }
}

impl From<Reason> for ConditionReason {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl fmt::Display for ConditionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

words! {
    /// A condition's value.
    pub enum ConditionStatus {
        /// It holds.
        True = "True",
        /// It doesn't.
        False = "False",
        /// Not known yet.
        Unknown = "Unknown",
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

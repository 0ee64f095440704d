//! The kernel as directway sees it: one trait, implemented by Linux and by a simulator with the same rules.

mod execute;
pub mod fake;
pub mod linux;
mod meaning;
mod segment_nic;

pub use execute::{OpResult, OpResults, execute};
pub use meaning::RefusalKind;
pub use segment_nic::{NicState, SegmentNic};

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    model::{AddressKey, Answer, ArpReading, Dev, Observed, Reach, ServiceKey},
    plan::Op,
};

/// What a pass needs of a node's kernel and segments. Calls block; one thread owns it.
pub trait Kernel: Send {
    /// The node's network state, ours and foreign.
    fn observe(&mut self) -> Result<Observed, KernelError>;

    /// The IPVS service with this key and its destinations, if it is there, and nothing that is needed besides. Linux answers
    /// this without a whole observation.
    fn observe_service(&mut self, _key: &ServiceKey) -> Result<Observed, KernelError> {
        self.observe()
    }

    /// The ARP settings of these interfaces, of which the kernel notifies nobody; 0 for one that is gone. Linux answers
    /// this without a whole observation.
    fn arp_settings(&mut self, devs: &BTreeSet<Dev>) -> Result<ArpReading, KernelError> {
        Ok(self.observe()?.arp_settings(devs.iter()))
    }

    /// Applies ops of one phase, batched; one result per op, in order. Ops don't depend on each other.
    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>>;

    /// How each address is reached: by route lookup and, if it is on a segment of this node, address resolution. One
    /// result each: an interface that cannot send hides no other's answers.
    fn resolve(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> BTreeMap<IpAddr, Result<Reach, KernelError>>;

    /// Which other hosts answer probes (RFC 5227) for these VIPs on these interfaces; empty if none does. One result each.
    fn probe(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> BTreeMap<AddressKey, Result<Answer, KernelError>>;
}

/// A query failed, or something could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct KernelError {
    /// What was being done, as in `list links`.
    pub doing: String,
    /// What went wrong and, where known, the fix.
    pub cause: String,
}

/// One op failed. The text begins with the op.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// The kernel refused it.
    #[error("{message} (errno {errno})")]
    Refused {
        /// The kind of refusal, for callers that react to it.
        kind: RefusalKind,
        /// The kernel's positive error number, for messages.
        errno: i32,
        /// The op, what it means for it and what to do.
        message: String,
    },
    /// The op was not sent, or its result is not known.
    #[error(transparent)]
    Unsent(#[from] KernelError),
}

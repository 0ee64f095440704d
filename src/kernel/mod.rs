//! The kernel as directway sees it: one trait, the real one behind it and a simulator with the same rules.

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
    model::{AddressKey, Answer, Observed, Reach, ServiceKey},
    plan::Op,
};

/// What a pass needs of a node's kernel and wire. Calls block; one thread owns it.
pub trait Kernel: Send {
    /// Everything there is, ours and foreign.
    fn observe(&mut self) -> Result<Observed, KernelError>;

    /// Whether there is an IPVS service with this key: a look that costs next to nothing.
    fn has_service(&mut self, key: &ServiceKey) -> Result<bool, KernelError> {
        Ok(self.observe()?.net.services.contains_key(key))
    }

    /// Applies ops of one phase, batched; one result per op, in order. Ops don't depend on each other.
    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>>;

    /// How each address is reached: route lookup, then address resolution where the segment is common.
    fn resolve(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, Reach>, KernelError>;

    /// Who else answers for these VIPs on these interfaces (RFC 5227 probes); silence is an empty answer.
    fn probe(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> Result<BTreeMap<AddressKey, Answer>, KernelError>;
}

/// The kernel could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct KernelError {
    /// What was being done, as in `list links`.
    pub doing: String,
    /// What went wrong and, where known, the fix.
    pub cause: String,
}

/// One op failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// The kernel said no.
    #[error("{message} (errno {errno})")]
    Refused {
        /// What that means to whoever has to go on.
        kind: RefusalKind,
        /// The kernel's positive error number, for people.
        errno: i32,
        /// What it means for this op and what to do.
        message: String,
    },
    /// The op never reached the kernel.
    #[error(transparent)]
    Unsent(#[from] KernelError),
}

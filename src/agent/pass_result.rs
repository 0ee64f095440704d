//! What a pass works with, and what it ends with.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    desired::{Admission, AfterPass, Desired},
    kernel::{KernelError, OpResults},
    model::{
        AddressKey, Conflict, Drain, IpRanges, Ledger, Move, NodeName, Observed, ProxyAnswer,
        Refusal, Repair, Reserved, Snapshot, VipDevices, has_proxy_device,
    },
};

use super::{NextPass, RunDirError};

/// What the sources have delivered, and how complete and recent it is.
#[derive(Clone, Copy, Debug)]
pub struct PassInput<'a> {
    /// All that is known.
    pub snapshot: &'a Snapshot,
    /// Whether that is everything. If not (a manifest could never be read), the pass removes nothing of ours.
    pub complete: bool,
    /// Whether the sources can be read now; if not, `snapshot` is what was last read.
    pub fresh: bool,
}

/// Why a pass did not do its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// The kernel could not be read, neighbours could not be queried, or an election could not begin.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The run directory cannot be used. Nothing was changed, unless only the save after the ops failed.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
}

/// The state after a pass, from which reports are made.
#[derive(Debug)]
pub struct PassState<'a> {
    /// Which VirtualServices are served.
    pub admission: Admission<'a>,
    /// What this node should be.
    pub desired: Desired,
    /// What its kernel has.
    pub observed: Observed,
    /// What is ours, as far as known.
    pub ledger: Ledger,
    /// Addresses that this node must not bind.
    pub reserved: Reserved,
    /// Other hosts that answer for VIPs that this node holds or may hold.
    pub conflicts: BTreeMap<AddressKey, Conflict>,
    /// The last moves of VIPs to this node, the newest last.
    pub moves: Vec<Move>,
    /// kube-proxy's answer when asked for its configuration.
    pub kube_proxy: ProxyAnswer,
    /// VIPs whose services were found deleted lately.
    pub vanished: BTreeSet<IpAddr>,
    /// What others changed and passes have put right since the agent's start, by the kind of op.
    pub repairs: BTreeMap<String, Repair>,
    /// What others undo again and again, with the VIPs concerned.
    pub overwritten: BTreeMap<Refusal, IpRanges>,
    /// Which devices may carry VIPs.
    pub vip_devices: VipDevices,
    /// VIPs of which this director has not been able to serve everything lately.
    pub incomplete: IpRanges,
    /// Real servers of this director that keep their open connections for a while.
    pub drains: BTreeMap<IpAddr, Drain>,
}

impl PassState<'_> {
    /// The same for the elections, and for what the next pass should know of this one.
    pub(super) fn after<'b>(&'b self, node: &'b NodeName, snapshot: &'b Snapshot) -> AfterPass<'b> {
        AfterPass {
            node,
            snapshot,
            admission: &self.admission,
            desired: &self.desired,
            observed: &self.observed,
        }
    }

    /// The VIPs that this node should have.
    pub(super) fn vips(&self) -> IpRanges {
        let addresses = self.desired.net.addresses.keys();
        addresses.map(|key| key.ip).collect()
    }

    /// Whether this node should have services and has the device of kube-proxy in ipvs mode, which may delete them.
    pub fn meets_kube_proxy(&self) -> bool {
        !self.desired.net.services.is_empty() && has_proxy_device(&self.observed)
    }
}

/// A pass that has ended.
#[derive(Debug)]
pub struct PassResult<'a> {
    /// The result of every op.
    pub outcome: OpResults,
    /// How many of the ops repaired changes that directway did not make.
    pub drift: usize,
    /// What kept the pass from its work.
    pub error: Option<PassError>,
    /// What it found; `None` if another agent has the lock, or the kernel could not be read.
    pub state: Option<PassState<'a>>,
    /// When the next pass is due.
    pub next: NextPass,
}

impl PassResult<'_> {
    /// Whether nothing of ours is in this node's kernel.
    pub fn leaves_nothing(&self) -> bool {
        let ledger = self.state.as_ref().map(|state| &state.ledger);
        self.error.is_none() && ledger == Some(&Ledger::default())
    }
}

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    model::Dev,
    plan::{Op, Subject},
};

use super::{Kernel, OpError};

/// How many ops the kernel gets in one call, so that messages take memory for one batch and not for the whole plan.
const AT_ONCE: usize = 1024;

/// The result of each op of a plan.
#[derive(Debug, Default)]
pub struct OpResults {
    /// In the plan's order.
    ops: Vec<Op>,
    /// By position: the results other than success.
    undone: BTreeMap<usize, OpResult>,
}

/// The result of one op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// It took effect.
    Applied,
    /// It failed.
    Failed(OpError),
    /// Not tried, because an op that it depends on failed.
    Skipped,
}

impl OpResults {
    /// Each op in the plan's order, with its result.
    pub fn done(&self) -> impl ExactSizeIterator<Item = (&Op, &OpResult)> {
        self.ops.iter().enumerate().map(|(position, op)| {
            let result = self.undone.get(&position).unwrap_or(&OpResult::Applied);
            (op, result)
        })
    }

    /// Whether every op took effect.
    pub fn is_complete(&self) -> bool {
        self.undone.is_empty()
    }

    /// The ops that failed, with their errors.
    pub fn failures(&self) -> impl Iterator<Item = (&Op, &OpError)> {
        self.done().filter_map(|(op, result)| match result {
            OpResult::Failed(error) => Some((op, error)),
            OpResult::Applied | OpResult::Skipped => None,
        })
    }
}

/// Applies `ops`, which are sorted by phase, in batches of one phase each. An op that depends on a failed one of an
/// earlier phase is skipped. All others run, and the next pass tries again what is missing.
pub fn execute(kernel: &mut dyn Kernel, ops: Vec<Op>) -> OpResults {
    let mut undone = BTreeMap::new();
    let mut failed = Failed::default();
    let mut position = 0;
    for phase in ops.chunk_by(|a, b| a.phase() == b.phase()) {
        let mut failed_now = Vec::new();
        for batch in phase.chunks(AT_ONCE) {
            for (offset, result) in apply(kernel, batch, &failed) {
                failed_now.push(&batch[offset]);
                undone.insert(position + offset, result);
            }
            position += batch.len();
        }
        for op in failed_now {
            failed.add(op);
        }
    }
    OpResults { ops, undone }
}

/// The results other than success, by their place in `batch`.
fn apply(kernel: &mut dyn Kernel, batch: &[Op], failed: &Failed) -> BTreeMap<usize, OpResult> {
    let (blocked, free): (Vec<usize>, Vec<usize>) =
        (0..batch.len()).partition(|place| failed.blocks(&batch[*place]));
    let results = if blocked.is_empty() {
        kernel.apply(batch)
    } else if free.is_empty() {
        Vec::new()
    } else {
        let rest: Vec<Op> = free.iter().map(|place| batch[*place].clone()).collect();
        kernel.apply(&rest)
    };
    let skipped = blocked.into_iter().map(|place| (place, OpResult::Skipped));
    let refused = free.into_iter().zip(results).filter_map(|(place, result)| {
        let error = result.err()?;
        Some((place, OpResult::Failed(error)))
    });
    skipped.chain(refused).collect()
}

/// The failures of earlier phases on which later ops may depend.
#[derive(Default)]
struct Failed {
    any: bool,
    quiet: bool,
    dummies: BTreeSet<Dev>,
    vips: BTreeSet<IpAddr>,
}

impl Failed {
    fn add(&mut self, op: &Op) {
        self.any = true;
        match op {
            Op::Quiet(_) => self.quiet = true,
            Op::AddDummy(dev) => {
                self.dummies.insert(dev.clone());
            }
            // A real server that can't be added, or a setting that can't be changed, must not keep clients from
            // the other real servers.
            Op::EditService(..) | Op::AddDestination(..) | Op::EditDestination(..) => {}
            Op::AddRoute(_) | Op::DelRoute(_) => {}
            Op::Restore(_) | Op::DelDummy(_) => {}
            Op::SetIpvs(_) | Op::RestoreIpvs(_) | Op::StartSync(..) | Op::StopSync(_) => {}
            Op::AddAddress(..)
            | Op::DelAddress(..)
            | Op::AddService(..)
            | Op::DelService(_)
            | Op::QuiesceDestination(..)
            | Op::DelDestination(..) => {
                if let Subject::Vip(vip) = op.subject() {
                    self.vips.insert(vip);
                }
            }
        }
    }

    fn blocks(&self, op: &Op) -> bool {
        let by_vip = match op.subject() {
            Subject::Vip(vip) => self.vips.contains(&vip),
            Subject::Node => false,
        };
        by_vip
            || match op {
                // The node must be quiet and the device exist before the address is added.
                Op::AddAddress(key, _) => self.quiet || self.dummies.contains(&key.dev),
                // Settings are restored and devices deleted only if no earlier op failed.
                Op::Restore(_) | Op::RestoreIpvs(_) | Op::DelDummy(_) => self.any,
                Op::AddDummy(_)
                | Op::SetIpvs(_)
                | Op::StartSync(..)
                | Op::StopSync(_)
                | Op::Quiet(_)
                | Op::DelAddress(..)
                | Op::AddRoute(_)
                | Op::DelRoute(_)
                | Op::AddService(..)
                | Op::EditService(..)
                | Op::DelService(_)
                | Op::AddDestination(..)
                | Op::EditDestination(..)
                | Op::QuiesceDestination(..)
                | Op::DelDestination(..) => false,
            }
    }
}

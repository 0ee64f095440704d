use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    model::Dev,
    plan::{Op, Subject},
};

use super::{Kernel, OpError};

/// How many ops are handed over at once: what a batch needs on its way to the kernel is needed once, not for the whole
/// plan.
const AT_ONCE: usize = 1024;

/// What became of each op of a plan.
#[derive(Debug, Default)]
pub struct OpResults {
    /// In the plan's order.
    ops: Vec<Op>,
    /// By position: what did not take effect, and why.
    undone: BTreeMap<usize, OpResult>,
}

/// What became of one op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// It took effect.
    Applied,
    /// It failed.
    Failed(OpError),
    /// Not tried, because an op that it rests on failed.
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

/// Applies `ops`, sorted by phase, in batches that never hold two phases. An op that rests on a failed one of an earlier
/// phase is skipped; everything else goes on, and the next pass tries again.
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

/// What failed so far in this pass, as far as later ops rest on it.
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
            // A real server that can't be added, or a setting that can't be changed, must not keep the
            // others from being served.
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
                // Quiet before VIP; device before address.
                Op::AddAddress(key, _) => self.quiet || self.dummies.contains(&key.dev),
                // Sysctls and devices are given back only when everything before went well.
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

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    model::Dev,
    plan::{Op, Subject},
};

use super::{Kernel, OpError};

/// What became of each op of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Ops in the plan's order.
    pub done: Vec<(Op, OpResult)>,
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

impl Outcome {
    /// Whether every op took effect.
    pub fn is_complete(&self) -> bool {
        self.done
            .iter()
            .all(|(_, result)| *result == OpResult::Applied)
    }

    /// The ops that failed, with their errors.
    pub fn failures(&self) -> impl Iterator<Item = (&Op, &OpError)> {
        self.done.iter().filter_map(|(op, result)| match result {
            OpResult::Failed(error) => Some((op, error)),
            OpResult::Applied | OpResult::Skipped => None,
        })
    }
}

/// Applies `ops`, sorted by phase, a batch per phase. An op that rests on a failed one is skipped; everything else
/// goes on, and the next pass tries again.
pub fn execute(kernel: &mut dyn Kernel, ops: Vec<Op>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut failed = Failed::default();
    let mut ops = ops.into_iter().peekable();
    while let Some(phase) = ops.peek().map(Op::phase) {
        let mut batch: Vec<Op> = Vec::new();
        while let Some(op) = ops.next_if(|op| op.phase() == phase) {
            if failed.blocks(&op) {
                failed.add(&op);
                outcome.done.push((op, OpResult::Skipped));
            } else {
                batch.push(op);
            }
        }
        if batch.is_empty() {
            continue;
        }
        let results = kernel.apply(&batch);
        for (op, result) in batch.into_iter().zip(results) {
            let result = match result {
                Ok(()) => OpResult::Applied,
                Err(error) => {
                    failed.add(&op);
                    OpResult::Failed(error)
                }
            };
            outcome.done.push((op, result));
        }
    }
    outcome
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
            Op::AddRoute(_) | Op::DelRoute(_) | Op::Announce(_) => {}
            Op::Restore(_) | Op::DelDummy(_) => {}
            Op::Tune(_) | Op::Untune(_) => {}
            Op::AddAddress(..)
            | Op::DelAddress(..)
            | Op::AddService(..)
            | Op::DelService(_)
            | Op::QuiesceDestination(..)
            | Op::DelDestination(..)
            | Op::Probe(_) => {
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
                Op::Restore(_) | Op::Untune(_) | Op::DelDummy(_) => self.any,
                Op::AddDummy(_)
                | Op::Tune(_)
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
                | Op::DelDestination(..)
                | Op::Probe(_)
                | Op::Announce(_) => false,
            }
    }
}

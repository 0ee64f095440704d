use std::collections::BTreeSet;

use crate::{
    desired::Admission,
    kernel::{OpError, OpResult, OpResults, RefusalKind},
    model::{ForeignTag, Ledger, Observed, ServiceKey},
    plan::Op,
};

/// For the report of an agent that cannot read its ledger, and so changes nothing: what a VirtualService asks for and
/// the kernel has counts as ours, because otherwise other nodes would act as if this one no longer had it.
pub(super) fn assume_ours(observed: &Observed, admission: &Admission<'_>) -> Ledger {
    let vips: BTreeSet<_> = admission
        .accepted
        .values()
        .flat_map(|virtual_service| &virtual_service.vips)
        .collect();
    let asked_for = |key: &&ServiceKey| vips.contains(&key.vip);
    Ledger {
        services: observed
            .net
            .services
            .keys()
            .filter(asked_for)
            .copied()
            .collect(),
        addresses: observed
            .addresses
            .iter()
            .filter(|(key, address)| match address.tag {
                ForeignTag::Ours => true,
                ForeignTag::Untagged => vips.contains(&key.ip),
                ForeignTag::Theirs(_) => false,
            })
            .map(|(key, _)| key.clone())
            .collect(),
        routes: observed.our_routes.clone(),
        ..Ledger::default()
    }
}

/// Corrects `planned`, which lists what is ours once all ops have taken effect, by what came of them.
pub(super) fn settle(
    planned: &mut Ledger,
    before: &Ledger,
    results: &OpResults,
    observed: &Observed,
) {
    for (op, result) in results.done() {
        match result {
            OpResult::Applied => {
                if let Op::StartSync(half, daemon) = op {
                    planned.started(*half, daemon, observed);
                }
            }
            OpResult::Failed(OpError::Refused {
                kind: RefusalKind::AlreadyThere,
                ..
            }) => disown(planned, before, op),
            OpResult::Failed(_) | OpResult::Skipped => {}
        }
    }
}

/// What `op` was to add is there: another program added it after the kernel was read. If it was ours `before`, it still
/// is, and the reading had missed it.
fn disown(planned: &mut Ledger, before: &Ledger, op: &Op) {
    match op {
        Op::AddService(key, _) if !before.services.contains(key) => {
            planned.services.remove(key);
        }
        Op::AddAddress(key, _) if !before.addresses.contains(key) => {
            planned.addresses.remove(key);
        }
        Op::AddRoute(key) if !before.routes.contains(key) => {
            planned.routes.remove(key);
        }
        Op::AddDummy(dev) if !before.dummies.contains(dev) => {
            planned.dummies.remove(dev);
        }
        Op::StartSync(half, daemon) => {
            let id = (*half, daemon.clone());
            if !before.sync.contains_key(&id) {
                planned.sync.remove(&id);
            }
        }
        Op::AddService(..)
        | Op::AddAddress(..)
        | Op::AddRoute(_)
        | Op::AddDummy(_)
        | Op::DelDummy(_)
        | Op::Quiet(_)
        | Op::Restore(_)
        | Op::SetIpvs(_)
        | Op::RestoreIpvs(_)
        | Op::StopSync(_)
        | Op::DelAddress(..)
        | Op::DelRoute(_)
        | Op::EditService(..)
        | Op::DelService(_)
        | Op::AddDestination(..)
        | Op::EditDestination(..)
        | Op::QuiesceDestination(..)
        | Op::DelDestination(..)
        | Op::DelForeignDestination(..) => {}
    }
}

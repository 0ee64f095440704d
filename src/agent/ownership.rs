use std::collections::BTreeSet;

use crate::{
    desired::Admission,
    model::{ForeignTag, Ledger, Observed, ServiceKey},
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

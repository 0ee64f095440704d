//! What is reported of a node's interfaces, so that `directway plan` can forecast what would happen there.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::{
    api::ReportedNic,
    model::{Arp, ArpSettings, Dev, Ledger, Link, Observed},
};

/// How many interfaces without an address are reported.
const BARE_NICS: usize = 16;

/// The interfaces on which the node can answer ARP, with their settings without directway. On some nodes, interfaces
/// without an address come and go with every pod, so only the first few, which are the machine's own, are reported.
pub(super) fn reported_nics(observed: &Observed, ledger: &Ledger) -> BTreeMap<Dev, ReportedNic> {
    let nics = observed.links.values().filter(|link| link.hears_arp());
    let nics = nics.map(|link| {
        let networks = link.networks();
        let nic = ReportedNic {
            index: link.index,
            down: !(link.up && link.carrier),
            mac: link.mac,
            subnets: networks.clone().map(IpNet::trunc).collect(),
            addresses: networks.map(IpNet::addr).collect(),
            arp: without_us(link, ledger),
        };
        (link.dev.clone(), nic)
    });
    let (mut bare, with_networks): (Vec<_>, Vec<_>) =
        nics.partition(|(_, nic)| nic.subnets.is_empty());
    bare.sort_by_key(|(_, nic)| nic.index);
    bare.truncate(BARE_NICS);
    with_networks.into_iter().chain(bare).collect()
}

/// The interface's ARP settings after directway has undone its changes.
fn without_us(link: &Link, ledger: &Ledger) -> ArpSettings {
    let before = |which, now| match ledger.arp.get(&(link.dev.clone(), which)) {
        Some(change) if change.set == now => change.before,
        Some(_) | None => now,
    };
    ArpSettings {
        ignore: before(Arp::Ignore, link.arp.ignore),
        announce: before(Arp::Announce, link.arp.announce),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LinkKind, SettingChange};

    fn nic(index: u32, addresses: &[&str]) -> Link {
        Link {
            index,
            dev: format!("eth{index}").parse().unwrap(),
            mac: None,
            kind: LinkKind::Other,
            up: true,
            carrier: true,
            arp_capable: true,
            enslaved: false,
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            arp: ArpSettings::QUIET,
        }
    }

    #[test]
    fn settings_are_told_as_they_are_without_directway() {
        let link = nic(2, &["10.0.0.1/24", "fe80::1/64"]);
        let change = |set| SettingChange { before: 0, set };
        let ledger = Ledger {
            // The second setting was changed by hand since.
            arp: [
                ((link.dev.clone(), Arp::Ignore), change(1)),
                ((link.dev.clone(), Arp::Announce), change(1)),
            ]
            .into(),
            ..Ledger::default()
        };
        let observed = Observed {
            links: [(link.dev.clone(), link.clone())].into(),
            ..Observed::default()
        };
        let told = &reported_nics(&observed, &ledger)[&link.dev];
        let expected = ArpSettings {
            ignore: 0,
            announce: 2,
        };
        assert_eq!((told.arp, told.index), (expected, 2));
        assert_eq!(told.subnets, ["10.0.0.0/24".parse().unwrap()].into());
        assert_eq!(told.addresses, ["10.0.0.1".parse().unwrap()].into());
    }

    #[test]
    fn of_interfaces_without_an_address_the_first_are_told() {
        let mut observed = Observed::default();
        for link in (2..40).map(|index| nic(index, &["fe80::1/64"])) {
            observed.links.insert(link.dev.clone(), link);
        }
        let last = nic(99, &["10.0.0.1/24"]);
        observed.links.insert(last.dev.clone(), last);
        let mut told: Vec<u32> = reported_nics(&observed, &Ledger::default())
            .values()
            .map(|nic| nic.index)
            .collect();
        told.sort_unstable();
        assert_eq!(told, (2..18).chain([99]).collect::<Vec<_>>());
    }
}

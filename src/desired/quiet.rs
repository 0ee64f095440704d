use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use crate::model::{
    AddressKey, Arp, ArpSettings, Dev, Interfaces, Ledger, Link, Observed, Reason, Refusal,
};

/// Which interfaces must be quiet for a node that carries `vip` on a device that is not the clients' NIC.
///
/// Linux answers an ARP request for any local address on whatever interface it arrives (net/ipv4/arp.c). So if one
/// NIC is in the VIP's network, all count, because any of them may be on the same segment. One without an address
/// always counts, because it may get one. A node whose NICs are all in other networks gets no ARP requests for the
/// VIP, unless the directors' interface is `named`: then the VIP may be on any segment, whatever its network.
pub(super) fn quiet_nics<'a>(
    vip: IpAddr,
    named: Option<&Interfaces>,
    observed: &'a Observed,
) -> Vec<&'a Link> {
    let nics = || observed.links.values().filter(|link| link.hears_arp());
    let anywhere = named.is_some() || nics().any(|link| link.is_in_network_of(vip));
    nics().filter(|link| anywhere || !has_ipv4(link)).collect()
}

fn has_ipv4(link: &Link) -> bool {
    link.addresses.iter().any(|net| net.addr().is_ipv4())
}

/// Adds to `arp` what keeps `vip` unanswered; refuses where the node's own settings forbid it.
pub(super) fn require_quiet(
    vip: IpAddr,
    named: Option<&Interfaces>,
    observed: &Observed,
    arp: &mut BTreeMap<Dev, ArpSettings>,
) -> Result<(), Refusal> {
    if vip.is_ipv6() {
        // Neighbour discovery looks addresses up per interface: one on lo is never answered.
        return Ok(());
    }
    let nics = quiet_nics(vip, named, observed);
    let all = observed.arp_all;
    if !nics.is_empty() && !ArpSettings::QUIET.effective(all).is_quiet() {
        return Err(Refusal::new(
            Reason::NotQuiet,
            format!(
                "net.ipv4.conf.all.arp_ignore={} makes this node answer ARP for {vip} whatever its interfaces say; set it to 0, 1 or 2",
                all.ignore
            ),
        ));
    }
    for link in nics {
        arp.entry(link.dev.clone()).or_insert(ArpSettings::QUIET);
    }
    Ok(())
}

/// Adds to `arp` the interfaces that directway made quiet and that still are, because the VirtualService that says
/// which interfaces count may be gone before its VIP is.
pub(super) fn keep_quiet(
    observed: &Observed,
    ledger: &Ledger,
    arp: &mut BTreeMap<Dev, ArpSettings>,
) {
    let ours = |dev: &Dev| [Arp::Ignore, Arp::Announce].map(|it| (dev.clone(), it));
    let nics = observed.links.values().filter(|link| link.hears_arp());
    for link in nics {
        let changed = ours(&link.dev).iter().any(|it| ledger.arp.contains_key(it));
        if changed && link.arp.effective(observed.arp_all).is_quiet() {
            arp.entry(link.dev.clone()).or_insert(ArpSettings::QUIET);
        }
    }
}

/// An address of the node that hosts on a quiet NIC's segment ask for in vain, because it is on another interface: with
/// `arp_ignore` 1 a NIC answers for its own addresses only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unanswered {
    /// The NIC on which it is asked for.
    pub asked_on: Dev,
    /// The address.
    pub address: IpAddr,
    /// The interface that has it.
    pub is_on: Dev,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked_on,
            address,
            is_on,
        } = self;
        write!(
            f,
            "{address} is on {is_on}, and a quiet {asked_on} does not answer for it"
        )
    }
}

/// Those of this node if every NIC is quiet, VIPs of ours left out.
pub fn unanswered(
    observed: &Observed,
    is_vip: impl Fn(&AddressKey) -> bool,
) -> BTreeSet<Unanswered> {
    let of_networks = observed.links.values().flat_map(|link| {
        let nets = link.addresses.iter();
        nets.map(|net| (&link.dev, net.addr()))
    });
    let host_sized = observed.net.addresses.keys().filter(|key| !is_vip(key));
    let host_sized = host_sized.map(|key| (&key.dev, key.ip));
    let own: BTreeSet<(&Dev, IpAddr)> = of_networks.chain(host_sized).collect();
    let nics = observed.links.values().filter(|link| link.hears_arp());
    let mut found = BTreeSet::new();
    for nic in nics {
        for (dev, address) in &own {
            let is_asked = address.is_ipv4() && nic.is_in_network_of(*address);
            if **dev != nic.dev && is_asked && !own.contains(&(&nic.dev, *address)) {
                found.insert(Unanswered {
                    asked_on: nic.dev.clone(),
                    address: *address,
                    is_on: (*dev).clone(),
                });
            }
        }
    }
    found
}

use std::{collections::BTreeMap, net::IpAddr};

use crate::model::{Arp, ArpSettings, Dev, Interfaces, Ledger, Link, Observed, Reason, Refusal};

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

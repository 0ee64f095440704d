//! The kernel's network state, as one value of the model.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
};

use ipnet::IpNet;
use netlink_packet_generic::GenlMessage;

use crate::{
    kernel::KernelError,
    model::{
        AddressKey, ArpReading, ArpSettings, Dev, ForeignTag, Ipvs, IpvsSetting, LinkKind,
        Observed, ObservedAddress, PROTOCOL_TAG, Role, host_prefix,
    },
};

use super::{
    IPVS_SETTINGS, Linux, failure,
    ipvs::{IpvsMessage, report, request},
    rtnl::{address, route},
    services::services,
};

/// Where `net.ipv4.conf` is. Readable without privileges; netlink does not report these two values of `all`
/// (`inet_netconf_fill_devconf`, net/ipv4/devinet.c).
const CONF: &str = "/proc/sys/net/ipv4/conf";

/// Reads the whole state once.
pub fn observe(linux: &mut Linux) -> Result<Observed, KernelError> {
    let mut observed = Observed::default();
    linux.list_links()?;
    observed.links = linux.links.clone();
    let names: HashMap<u32, Dev> = linux
        .links
        .values()
        .map(|link| (link.index, link.dev.clone()))
        .collect();
    for link in linux.links.values() {
        if link.kind == LinkKind::Dummy {
            observed.net.dummies.insert(link.dev.clone());
        }
        observed.net.arp.insert(link.dev.clone(), link.arp);
    }
    observed.arp_all = arp_all()?;
    observed.net.ipvs = ipvs_settings()?;
    addresses(linux, &names, &mut observed)?;
    routes(linux, &names, &mut observed)?;
    services(linux, &mut observed)?;
    daemons(linux, &mut observed)?;
    timeouts(linux, &mut observed)?;
    Ok(observed)
}

fn arp_all() -> Result<ArpSettings, KernelError> {
    match arp_of("all")? {
        Some(settings) => Ok(settings),
        None => Err(failure(format!("read {CONF}/all"), "it is not there")),
    }
}

/// The settings of `conf/all` and of these interfaces; 0 for one that is gone or has no IPv4.
pub fn arp_settings(devs: &BTreeSet<Dev>) -> Result<ArpReading, KernelError> {
    let own = |dev: &Dev| Ok((dev.clone(), arp_of(dev.as_str())?.unwrap_or_default()));
    Ok(ArpReading {
        all: arp_all()?,
        own: devs.iter().map(own).collect::<Result<_, KernelError>>()?,
    })
}

/// Reading these files needs no right and takes no lock of the network; a few microseconds each.
fn arp_of(conf: &str) -> Result<Option<ArpSettings>, KernelError> {
    let read = |name| {
        let path = format!("{CONF}/{conf}/{name}");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failure(format!("read {path}"), error)),
        };
        let number = text.trim().parse::<u32>().map(Some);
        number.map_err(|error| failure(format!("read {path}"), error))
    };
    let (ignore, announce) = (read("arp_ignore")?, read("arp_announce")?);
    let settings = ignore.zip(announce);
    Ok(settings.map(|(ignore, announce)| ArpSettings { ignore, announce }))
}

/// The settings of IPVS that this kernel has; none as long as IPVS is not loaded.
fn ipvs_settings() -> Result<BTreeMap<IpvsSetting, u32>, KernelError> {
    let mut settings = BTreeMap::new();
    for setting in IpvsSetting::ALL.into_iter().filter(|it| !it.is_timeout()) {
        let path = format!("{IPVS_SETTINGS}/{setting}");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failure(format!("read {path}"), error)),
        };
        // Of two numbers (sync_threshold) the first.
        let value = text.split_whitespace().next().unwrap_or_default().parse();
        let value = value.map_err(|error| failure(format!("read {path}"), error))?;
        settings.insert(setting, value);
    }
    Ok(settings)
}

fn addresses(
    linux: &mut Linux,
    names: &HashMap<u32, Dev>,
    observed: &mut Observed,
) -> Result<(), KernelError> {
    for seen in linux.dump_rtnl("list the addresses", &address::list(), address::parse)? {
        // An interface that appeared after the links were listed is left to the next observation.
        let Some(dev) = names.get(&seen.index) else {
            continue;
        };
        let Some(link) = observed.links.get_mut(dev) else {
            continue;
        };
        if seen.prefix != host_prefix(seen.ip) {
            if let Ok(net) = IpNet::new(seen.ip, seen.prefix) {
                link.addresses.push(net);
            }
            continue;
        }
        let role = match link.kind {
            LinkKind::Loopback | LinkKind::Dummy => Role::Quiet,
            LinkKind::Other => Role::Held,
        };
        let tag = match seen.protocol {
            PROTOCOL_TAG => ForeignTag::Ours,
            0 => ForeignTag::Untagged,
            other => ForeignTag::Theirs(other),
        };
        let key = AddressKey::new(dev.clone(), seen.ip);
        observed.addresses.insert(
            key.clone(),
            ObservedAddress {
                tag,
                valid_seconds: seen.valid_seconds,
            },
        );
        observed.net.addresses.insert(key, role);
    }
    Ok(())
}

fn routes(
    linux: &mut Linux,
    names: &HashMap<u32, Dev>,
    observed: &mut Observed,
) -> Result<(), KernelError> {
    for question in route::list() {
        for listed in linux.dump_rtnl("list the routes", &question, route::parse_listed)? {
            observed.next_hops.extend(listed.next_hops);
            let Some(seen) = listed.host_route else {
                continue;
            };
            let Some(dev) = names.get(&seen.index) else {
                continue;
            };
            let key = AddressKey::new(dev.clone(), seen.ip);
            if seen.protocol == PROTOCOL_TAG {
                observed.our_routes.insert(key.clone());
            }
            observed.net.routes.insert(key);
        }
    }
    Ok(())
}

/// The daemons that exchange connections; none where the kernel has no IPVS.
fn daemons(linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
    const DOING: &str = "list IPVS's synchronisation daemons";
    let Some(family) = linux.ipvs.filter(|_| observed.ipvs == Ipvs::Present) else {
        return Ok(());
    };
    let messages: Vec<GenlMessage<IpvsMessage>> = linux
        .dump_ipvs(family, request::list_daemons())
        .map_err(|error| failure(DOING, error))?;
    let daemons: Result<_, _> = messages
        .iter()
        .map(|message| report::daemon(&message.payload))
        .collect();
    observed.net.sync = daemons.map_err(|error| failure(DOING, error))?;
    Ok(())
}

/// The timeouts; none where the kernel has no IPVS.
fn timeouts(linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
    let Some(family) = linux.ipvs.filter(|_| observed.ipvs == Ipvs::Present) else {
        return Ok(());
    };
    let mut question = GenlMessage::from_payload(request::get_timeouts());
    question.set_resolved_family_id(family);
    let answers: Vec<GenlMessage<IpvsMessage>> = linux
        .genl
        .ask(&question)
        .map_err(|error| failure("read the timeouts of IPVS", error))?;
    let timeouts = answers
        .iter()
        .map(|answer| report::timeouts(&answer.payload));
    observed.net.ipvs.extend(timeouts.flatten());
    Ok(())
}

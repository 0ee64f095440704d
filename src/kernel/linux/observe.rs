//! The kernel's network state, as one value of the model.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io::{self, BufReader},
};

use ipnet::IpNet;
use netlink_packet_generic::GenlMessage;

use crate::{
    kernel::KernelError,
    model::{
        AddressKey, ArpReading, ArpSettings, Dev, ForeignTag, Ipvs, IpvsSetting, LinkKind,
        Observed, ObservedAddress, PROTOCOL_TAG, Role, Service, ServiceKey, host_prefix,
    },
};

use super::{
    IPVS_SETTINGS, Linux, explain, failure,
    ipvs::{
        IpvsMessage,
        procfs::{self, Entry},
        report::{self, SeenDestination, SeenService},
        request,
    },
    netlink::NetlinkError,
    rtnl::{address, route},
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

fn services(linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
    let Some(listed) = list_services(linux)? else {
        observed.ipvs = Ipvs::Missing(explain::NO_IPVS.to_owned());
        return Ok(());
    };
    for seen in listed {
        match seen {
            SeenService::Addressed(key, service) => {
                observed.net.services.insert(key, service);
            }
            SeenService::Marked(_) => observed.fwmark_services += 1,
        }
    }
    let mut shown = read_destinations(observed)?;
    // Both readings miss entries if others change the table meanwhile, and IPVS marks no such dump as inconsistent. A
    // service that only the file shows is asked for by its key.
    for key in std::mem::take(&mut shown.unlisted) {
        if let Some(service) = get_service(linux, &key)? {
            observed.net.services.insert(key, service);
        }
    }
    // Without the file (a container may hide it), and for services whose destinations it did not show, ask for these one
    // service at a time.
    let unshown: Vec<ServiceKey> = observed
        .net
        .services
        .keys()
        .filter(|key| !shown.listed.remove(key))
        .copied()
        .collect();
    for key in unshown {
        for seen in list_destinations(linux, &key)? {
            insert(observed, key, seen);
        }
    }
    Ok(())
}

/// The services that the kernel's text file shows.
#[derive(Default)]
struct Shown {
    /// Those that were listed before; their destinations have been read.
    listed: HashSet<ServiceKey>,
    /// The others.
    unlisted: Vec<ServiceKey>,
}

/// Reads all destinations from the kernel's text file.
fn read_destinations(observed: &mut Observed) -> Result<Shown, KernelError> {
    let mut shown = Shown::default();
    let result = std::fs::File::open(procfs::PATH).and_then(|file| {
        procfs::read(BufReader::new(file), |entry| match entry {
            Entry::Service(key) => match observed.net.services.get_mut(&key) {
                // If a service is shown twice, the second time counts.
                Some(service) if !shown.listed.insert(key) => {
                    service.destinations.clear();
                    let others = &mut observed.foreign_destinations;
                    others.retain(|(of, _), _| *of != key);
                }
                Some(_) => {}
                None => shown.unlisted.push(key),
            },
            Entry::Destination(key, seen) => insert(observed, key, seen),
        })
    });
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failure(format!("read {}", procfs::PATH), error))
        }
        _ => Ok(shown),
    }
}

fn insert(observed: &mut Observed, key: ServiceKey, seen: SeenDestination) {
    let SeenDestination {
        server,
        destination,
        connections,
    } = seen;
    let Some(service) = observed.net.services.get_mut(&key) else {
        return;
    };
    if server.port() != key.port {
        let others = &mut observed.foreign_destinations;
        others.insert((key, server), destination);
        return;
    }
    service.destinations.insert(server.ip(), destination);
    if destination.weight == 0 {
        observed.draining.insert((key, server.ip()), connections);
    }
}

/// The destinations of one service; none if it is gone.
fn list_destinations(
    linux: &mut Linux,
    key: &ServiceKey,
) -> Result<Vec<SeenDestination>, KernelError> {
    let doing = || format!("list the destinations of {key}");
    let Some(family) = linux.ipvs_family()? else {
        return Ok(Vec::new());
    };
    let messages: Vec<GenlMessage<IpvsMessage>> = linux
        .dump_ipvs(family, request::list_destinations(key))
        .map_err(|error| failure(doing(), error))?;
    let seen: Result<Vec<_>, _> = messages
        .iter()
        .map(|message| report::destination(&message.payload, key.vip))
        .collect();
    seen.map_err(|error| failure(doing(), error))
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

/// One service, without its destinations; `None` if it is not there, or the kernel has no IPVS.
pub fn get_service(linux: &mut Linux, key: &ServiceKey) -> Result<Option<Service>, KernelError> {
    let Some(family) = linux.ipvs_family()? else {
        return Ok(None);
    };
    let mut question = GenlMessage::from_payload(request::get_service(key));
    question.set_resolved_family_id(family);
    match linux.genl.ask::<_, SeenService>(&question) {
        Ok(answers) => Ok(answers.into_iter().find_map(|seen| match seen {
            SeenService::Addressed(_, service) => Some(service),
            SeenService::Marked(_) => None,
        })),
        Err(NetlinkError::Refused {
            errno: libc::ESRCH, ..
        }) => Ok(None),
        Err(error) => Err(failure(format!("look for {key}"), error)),
    }
}

/// All services without their destinations; `None` if the kernel has no IPVS.
fn list_services(linux: &mut Linux) -> Result<Option<Vec<SeenService>>, KernelError> {
    const DOING: &str = "list the IPVS services";
    for _ in 0..2 {
        let Some(family) = linux.ipvs_family()? else {
            return Ok(None);
        };
        match linux.dump_ipvs(family, request::list_services()) {
            // The module was unloaded, or loaded again and has another number now: look it up once more.
            Err(NetlinkError::Refused {
                errno: libc::ENOENT,
                ..
            }) => linux.ipvs = None,
            Err(NetlinkError::Refused {
                errno: libc::EPERM, ..
            }) => return Err(failure(DOING, explain::NO_RIGHTS)),
            other => return other.map(Some).map_err(|error| failure(DOING, error)),
        }
    }
    Err(failure(
        DOING,
        "module ip_vs is being unloaded and loaded again",
    ))
}

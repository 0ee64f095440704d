//! IPVS's services and their destinations, as the kernel has them.

use std::{
    collections::{HashMap, HashSet},
    io::{self, BufReader},
};

use netlink_packet_generic::GenlMessage;

use crate::{
    kernel::KernelError,
    model::{Ipvs, Observed, Service, ServiceKey},
};

use super::{
    Linux, explain, failure,
    ipvs::{
        IpvsMessage,
        procfs::{self, Entry},
        report::{self, SeenDestination, SeenService},
        request,
        sockopt::Table,
    },
    netlink::NetlinkError,
};

/// So many services whose destinations are not known are asked for one at a time; with more the text of all is shorter.
const FEW: usize = 64;

/// Reads all services with their destinations.
pub fn services(linux: &mut Linux, observed: &mut Observed) -> Result<(), KernelError> {
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
    // Who may read services over netlink may read them here. Where a filter of system calls forbids it, the slower ways
    // below read the same.
    let table = Table::open().and_then(|mut table| Ok((table.services()?, table)));
    let (counts, mut table) = table.map_or_else(
        |_| (HashMap::new(), None),
        |(counts, table)| (counts, Some(table)),
    );
    // Both lists miss entries if others change the table meanwhile, and IPVS marks no such dump as inconsistent.
    for key in counts.keys() {
        add_unlisted(linux, observed, key)?;
    }
    let keys: Vec<ServiceKey> = observed.net.services.keys().copied().collect();
    let mut left = HashSet::new();
    for key in keys {
        let count = counts.get(&key).copied();
        let read = match (&mut table, count) {
            (Some(table), Some(count)) => table.destinations(&key, count).ok().flatten(),
            _ => None,
        };
        match read {
            Some(destinations) => insert_all(observed, key, destinations),
            None => drop(left.insert(key)),
        }
    }
    if left.len() > FEW {
        read_text(linux, observed, &mut left)?;
    }
    for key in left {
        let destinations = list_destinations(linux, &key)?;
        insert_all(observed, key, destinations);
    }
    Ok(())
}

/// Reads one service with its destinations.
pub fn service(linux: &mut Linux, key: &ServiceKey) -> Result<Observed, KernelError> {
    let mut observed = Observed::default();
    if let Some(service) = get_service(linux, key)? {
        observed.net.services.insert(*key, service);
        let destinations = list_destinations(linux, key)?;
        insert_all(&mut observed, *key, destinations);
    }
    Ok(observed)
}

/// Adds a service that the list has missed, without its destinations.
fn add_unlisted(
    linux: &mut Linux,
    observed: &mut Observed,
    key: &ServiceKey,
) -> Result<(), KernelError> {
    if !observed.net.services.contains_key(key)
        && let Some(service) = get_service(linux, key)?
    {
        observed.net.services.insert(*key, service);
    }
    Ok(())
}

/// Reads the destinations of the services in `left`, and of services that were not listed, from the kernel's text file;
/// removes from `left` those that are there. A container may hide the file.
fn read_text(
    linux: &mut Linux,
    observed: &mut Observed,
    left: &mut HashSet<ServiceKey>,
) -> Result<(), KernelError> {
    let known = &observed.net.services;
    let is_wanted = |key: &ServiceKey| left.contains(key) || !known.contains_key(key);
    let mut shown: HashMap<ServiceKey, Vec<SeenDestination>> = HashMap::new();
    let result = std::fs::File::open(procfs::PATH).and_then(|file| {
        procfs::read(BufReader::new(file), |entry| match entry {
            // If a service is shown twice, the second time counts.
            Entry::Service(key) if is_wanted(&key) => drop(shown.insert(key, Vec::new())),
            Entry::Service(_) => {}
            Entry::Destination(key, seen) => {
                shown.entry(key).and_modify(|list| list.push(seen));
            }
        })
    });
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failure(format!("read {}", procfs::PATH), error));
        }
        _ => {}
    }
    for (key, destinations) in shown {
        left.remove(&key);
        add_unlisted(linux, observed, &key)?;
        insert_all(observed, key, destinations);
    }
    Ok(())
}

fn insert_all(observed: &mut Observed, key: ServiceKey, destinations: Vec<SeenDestination>) {
    let Some(service) = observed.net.services.get_mut(&key) else {
        return;
    };
    for SeenDestination {
        server,
        destination,
        connections,
    } in destinations
    {
        if server.port() != key.port {
            let others = &mut observed.foreign_destinations;
            others.insert((key, server), destination);
            continue;
        }
        service.destinations.insert(server.ip(), destination);
        if destination.weight == 0 {
            observed.draining.insert((key, server.ip()), connections);
        }
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

/// One service, without its destinations; `None` if it is not there, or the kernel has no IPVS.
fn get_service(linux: &mut Linux, key: &ServiceKey) -> Result<Option<Service>, KernelError> {
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

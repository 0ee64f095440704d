//! Probes, neighbours and announcements, on every interface concerned at the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
};

use crate::{
    kernel::KernelError,
    model::{AddressKey, Answer, Dev, Link, Mac, Reach},
};

use super::{
    Linux, NO_NDP, ask, failure,
    netlink::NetlinkError,
    packet::ArpSocket,
    raw::Reply,
    rtnl::route::{self, Path},
};

/// IPv4 targets by device.
type Targets = BTreeMap<Dev, BTreeSet<Ipv4Addr>>;

impl Linux {
    /// Probes for every target; an answer or a failure for each.
    pub(super) fn probe_each(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> BTreeMap<AddressKey, Result<Answer, KernelError>> {
        let doing = |key: &AddressKey| format!("probe for {} on {}", key.ip, key.dev);
        let by_device = by_device(targets);
        let own = match self.list_links() {
            Ok(()) => self
                .links
                .values()
                .filter_map(|link| link.mac)
                .collect::<BTreeSet<Mac>>(),
            Err(error) => {
                return targets
                    .iter()
                    .map(|key| (key.clone(), Err(error.clone())))
                    .collect();
            }
        };
        let answers =
            self.on_each_device(&by_device, |socket, vips| ask::probe(socket, vips, &own));
        let answer_of = |key: &AddressKey| -> Result<Answer, KernelError> {
            let IpAddr::V4(vip) = key.ip else {
                return Err(failure(doing(key), NO_NDP));
            };
            match answers.get(&key.dev) {
                Some(Ok(claims)) => Ok(Answer {
                    macs: claims.get(&vip).cloned().unwrap_or_default(),
                }),
                Some(Err(cause)) => Err(failure(doing(key), cause)),
                None => Err(failure(doing(key), "it was not sent")),
            }
        };
        targets
            .iter()
            .map(|key| (key.clone(), answer_of(key)))
            .collect()
    }

    /// Announces every IPv4 target; says per device why it failed, if it did.
    pub(super) fn announce_each(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> BTreeMap<Dev, String> {
        let by_device = by_device(targets);
        if by_device.is_empty() {
            return BTreeMap::new();
        }
        if let Err(error) = self.list_links() {
            return by_device
                .into_keys()
                .map(|dev| (dev, error.to_string()))
                .collect();
        }
        self.on_each_device(&by_device, ask::announce)
            .into_iter()
            .filter_map(|(dev, result)| result.err().map(|cause| (dev, cause)))
            .collect()
    }

    /// Finds out how each address is reached.
    pub(super) fn resolve_each(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<BTreeMap<IpAddr, Reach>, KernelError> {
        let mut reach = BTreeMap::new();
        let mut neighbours: BTreeMap<Dev, BTreeMap<Ipv4Addr, Ipv4Addr>> = BTreeMap::new();
        if !addresses.is_empty() {
            self.list_links()?;
        }
        for address in addresses {
            let (index, source) = match self.path_to(*address)? {
                Path::Local => {
                    reach.insert(*address, Reach::Local);
                    continue;
                }
                Path::Elsewhere => {
                    reach.insert(*address, Reach::NotOnLink);
                    continue;
                }
                Path::OnLink { index, source } => (index, source),
            };
            let link = self.links.values().find(|link| link.index == index);
            match (address, link.filter(|link| link.arp_capable)) {
                (IpAddr::V4(ip), Some(link)) => {
                    let source = match source {
                        Some(IpAddr::V4(source)) => source,
                        _ => Ipv4Addr::UNSPECIFIED,
                    };
                    neighbours
                        .entry(link.dev.clone())
                        .or_default()
                        .insert(*ip, source);
                }
                (IpAddr::V6(_), Some(_)) => {
                    return Err(failure(format!("resolve {address}"), NO_NDP));
                }
                // A tunnel: there is no MAC that a packet could be sent to.
                (_, None) => {
                    reach.insert(*address, Reach::NotOnLink);
                }
            }
        }
        for (dev, found) in self.on_each_device(&neighbours, ask::resolve) {
            let found =
                found.map_err(|cause| failure(format!("resolve neighbours on {dev}"), cause))?;
            for ip in neighbours.get(&dev).into_iter().flat_map(BTreeMap::keys) {
                let dev = dev.clone();
                let answer = match found.get(ip) {
                    Some(mac) => Reach::Neighbour { dev, mac: *mac },
                    None => Reach::Silent { dev },
                };
                reach.insert(IpAddr::V4(*ip), answer);
            }
        }
        Ok(reach)
    }

    fn path_to(&mut self, address: IpAddr) -> Result<Path, KernelError> {
        let doing = || format!("look up the route to {address}");
        let replies: Vec<Reply> = match self.rtnl.ask(&route::look_up(address)) {
            Ok(replies) => replies,
            // No route, or one that says so: unreachable, prohibit, blackhole.
            Err(NetlinkError::Refused {
                errno: libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL,
                ..
            }) => return Ok(Path::Elsewhere),
            Err(error) => return Err(failure(doing(), error)),
        };
        let path = replies
            .first()
            .map(route::parse_path)
            .transpose()
            .map_err(|error| failure(doing(), error))?;
        path.flatten()
            .ok_or_else(|| failure(doing(), "the kernel's answer is no route"))
    }

    /// Does the same on several devices at once, each in a thread of its own (which shares this thread's namespace).
    fn on_each_device<T: Sync, A: Send>(
        &self,
        targets: &BTreeMap<Dev, T>,
        act: impl Fn(&ArpSocket, &T) -> io::Result<A> + Sync,
    ) -> BTreeMap<Dev, Result<A, String>> {
        let act_on = |dev: &Dev, targets: &T| {
            let socket = open(dev, self.links.get(dev))?;
            act(&socket, targets).map_err(|error| said_of(dev, &error))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = targets
                .iter()
                .map(|(dev, targets)| (dev, scope.spawn(move || act_on(dev, targets))))
                .collect();
            let result = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err("the thread that was to do it failed".to_owned()))
            };
            threads
                .into_iter()
                .map(|(dev, thread)| (dev.clone(), result(thread)))
                .collect()
        })
    }
}

fn by_device(targets: &BTreeSet<AddressKey>) -> Targets {
    let mut by_device = Targets::new();
    for key in targets {
        if let IpAddr::V4(ip) = key.ip {
            by_device.entry(key.dev.clone()).or_default().insert(ip);
        }
    }
    by_device
}

pub(super) fn open(dev: &Dev, link: Option<&Link>) -> Result<ArpSocket, String> {
    let link = link.ok_or_else(|| format!("there is no device {dev}"))?;
    let (Some(mac), Some(index), true) = (link.mac, NonZeroU32::new(link.index), link.arp_capable)
    else {
        return Err(format!("{dev} takes no part in ARP"));
    };
    if !link.up {
        return Err(format!("{dev} is down: ip link set {dev} up"));
    }
    ArpSocket::open(index, mac).map_err(|error| said_of(dev, &error))
}

pub(super) fn said_of(dev: &Dev, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "not permitted: give the process CAP_NET_RAW".to_owned(),
        Some(libc::ENETDOWN) => format!("{dev} went down"),
        Some(libc::ENODEV | libc::ENXIO) => format!("{dev} is gone"),
        _ => format!("packet socket on {dev}: {error}"),
    }
}

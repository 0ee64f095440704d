//! Probes and neighbours, on every interface and in every address family concerned at the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    num::NonZeroU32,
};

use crate::{
    kernel::KernelError,
    model::{AddressKey, Answer, Dev, Link, Mac, Reach},
    wire::Family,
};

use super::{
    Linux, ask, failure,
    netlink::NetlinkError,
    packet::LinkSocket,
    raw::Reply,
    rtnl::route::{self, Path},
};

/// One value per socket: per device and address family.
type Sockets<T> = BTreeMap<(Dev, Family), T>;

/// How a packet would go to an address.
enum Way {
    /// That is all there is to know.
    Known(Reach),
    /// Through this socket's interface to a neighbour, which is asked with this sender address.
    Neighbour((Dev, Family), Option<IpAddr>),
}

impl Linux {
    /// Probes for every target; an answer or a failure for each.
    pub(super) fn probe_each(
        &mut self,
        targets: &BTreeSet<AddressKey>,
    ) -> BTreeMap<AddressKey, Result<Answer, KernelError>> {
        if let Err(error) = self.list_links() {
            let failed = |key: &AddressKey| (key.clone(), Err(error.clone()));
            return targets.iter().map(failed).collect();
        }
        let own: BTreeSet<Mac> = self.links.values().filter_map(|link| link.mac).collect();
        let claims = self.on_each_socket(&by_socket(targets), |socket, vips| {
            ask::probe(socket, vips, &own)
        });
        let answer_of = |key: &AddressKey| match result_of(&claims, key) {
            Ok(claims) => Ok(Answer {
                macs: claims.get(&key.ip).cloned().unwrap_or_default(),
            }),
            Err(cause) => Err(failure(
                format!("probe for {} on {}", key.ip, key.dev),
                cause,
            )),
        };
        let answers = targets.iter().map(|key| (key.clone(), answer_of(key)));
        answers.collect()
    }

    /// Finds out how each address is reached; an answer or a failure for each.
    pub(super) fn resolve_each(
        &mut self,
        addresses: &BTreeSet<IpAddr>,
    ) -> BTreeMap<IpAddr, Result<Reach, KernelError>> {
        let mut reach = BTreeMap::new();
        let mut neighbours: Sockets<BTreeMap<IpAddr, Option<IpAddr>>> = BTreeMap::new();
        let listed = if addresses.is_empty() {
            Ok(())
        } else {
            self.list_links()
        };
        for address in addresses {
            let way = listed.clone().and_then(|()| self.way_to(*address));
            match way {
                Ok(Way::Known(known)) => drop(reach.insert(*address, Ok(known))),
                Ok(Way::Neighbour(socket, source)) => {
                    let on_socket = neighbours.entry(socket).or_default();
                    on_socket.insert(*address, source);
                }
                Err(error) => drop(reach.insert(*address, Err(error))),
            }
        }
        for ((dev, family), found) in self.on_each_socket(&neighbours, ask::resolve) {
            let asked = neighbours.get(&(dev.clone(), family));
            for ip in asked.into_iter().flat_map(BTreeMap::keys) {
                let answer = match &found {
                    Ok(found) => Ok(match found.get(ip) {
                        Some(mac) => Reach::Neighbour {
                            dev: dev.clone(),
                            mac: *mac,
                        },
                        None => Reach::Silent { dev: dev.clone() },
                    }),
                    Err(cause) => Err(failure(format!("resolve {ip} on {dev}"), cause)),
                };
                reach.insert(*ip, answer);
            }
        }
        reach
    }

    fn way_to(&mut self, address: IpAddr) -> Result<Way, KernelError> {
        let (index, source) = match self.path_to(address)? {
            Path::Local => return Ok(Way::Known(Reach::Local)),
            Path::Elsewhere => return Ok(Way::Known(Reach::NotOnLink)),
            Path::OnLink { index, source } => (index, source),
        };
        let link = self.links.values().find(|link| link.index == index);
        // On a tunnel there is no MAC that a packet could be sent to.
        let Some(link) = link.filter(|link| link.arp_capable) else {
            return Ok(Way::Known(Reach::NotOnLink));
        };
        let family =
            Family::of(address).map_err(|error| failure(format!("resolve {address}"), error))?;
        Ok(Way::Neighbour((link.dev.clone(), family), source))
    }

    fn path_to(&mut self, address: IpAddr) -> Result<Path, KernelError> {
        let doing = || format!("look up the route to {address}");
        let replies: Vec<Reply> = match self.rtnl.ask(&route::look_up(address)) {
            Ok(replies) => replies,
            // No route, or one of type unreachable, prohibit or blackhole.
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

    /// Does the same on several sockets at once, each in a thread of its own (which shares this thread's namespace).
    fn on_each_socket<T: Sync, A: Send>(
        &self,
        targets: &Sockets<T>,
        act: impl Fn(&LinkSocket, &T) -> io::Result<A> + Sync,
    ) -> Sockets<Result<A, String>> {
        let act_on = |(dev, family): &(Dev, Family), targets: &T| {
            let socket = open(dev, self.links.get(dev), *family)?;
            act(&socket, targets).map_err(|error| said_of(dev, &error))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = targets
                .iter()
                .map(|(at, targets)| (at, scope.spawn(move || act_on(at, targets))))
                .collect();
            let result = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err("the thread that was to do it failed".to_owned()))
            };
            threads
                .into_iter()
                .map(|(at, thread)| (at.clone(), result(thread)))
                .collect()
        })
    }
}

/// Leaves out targets whose family is not supported; [`result_of`] returns the error for them.
fn by_socket(targets: &BTreeSet<AddressKey>) -> Sockets<BTreeSet<IpAddr>> {
    let mut by_socket: Sockets<BTreeSet<IpAddr>> = BTreeMap::new();
    for key in targets {
        if let Ok(family) = Family::of(key.ip) {
            let on_socket = by_socket.entry((key.dev.clone(), family)).or_default();
            on_socket.insert(key.ip);
        }
    }
    by_socket
}

/// The result for `key` on its socket.
fn result_of<'a, A>(
    results: &'a Sockets<Result<A, String>>,
    key: &AddressKey,
) -> Result<&'a A, String> {
    let family = Family::of(key.ip).map_err(|error| error.to_string())?;
    match results.get(&(key.dev.clone(), family)) {
        Some(result) => result.as_ref().map_err(String::clone),
        None => Err("it was not sent".to_owned()),
    }
}

pub(super) fn open(dev: &Dev, link: Option<&Link>, family: Family) -> Result<LinkSocket, String> {
    let link = link.ok_or_else(|| format!("there is no device {dev}"))?;
    let (Some(mac), Some(index), true) = (link.mac, NonZeroU32::new(link.index), link.arp_capable)
    else {
        let name = family.resolution().name();
        return Err(format!("{dev} takes no part in {name}"));
    };
    if !link.up {
        return Err(format!("{dev} is down: ip link set {dev} up"));
    }
    LinkSocket::open(index, mac, family).map_err(|error| said_of(dev, &error))
}

pub(super) fn said_of(dev: &Dev, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM) => "not permitted: give the process CAP_NET_RAW".to_owned(),
        Some(libc::ENETDOWN) => format!("{dev} went down"),
        Some(libc::ENODEV | libc::ENXIO) => format!("{dev} is gone"),
        _ => format!("packet socket on {dev}: {error}"),
    }
}

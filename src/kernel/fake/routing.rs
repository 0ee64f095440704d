//! Where a packet goes: the local table, then the longest prefix.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{Dev, LinkKind};

use super::machine::Machine;

/// The answer of `ip route get`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// To this machine itself.
    Local,
    /// Out of a device, to the destination itself or to a gateway.
    Out { dev: Dev, next: IpAddr },
    /// There is no route.
    None,
}

impl Machine {
    /// Whether the kernel accepts packets for `ip`: any device may have the address, even one that is down
    /// (`fib_add_ifaddr`, net/ipv4/fib_frontend.c). On `lo` an address makes its whole network local.
    pub(super) fn is_local(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| {
            address.net.addr() == ip || (address.dev.is_lo() && address.net.contains(&ip))
        })
    }

    pub(super) fn path(&self, to: IpAddr) -> Path {
        if self.is_local(to) {
            return Path::Local;
        }
        let is_up = |dev: &Dev| self.devices.get(dev).is_some_and(|device| device.up);
        let connected = self
            .addresses
            .iter()
            .filter(|address| !Self::is_host_sized(&address.net) && !address.dev.is_lo())
            .map(|address| (address.net.trunc(), &address.dev, None));
        let routes = self
            .routes
            .iter()
            .map(|route| (route.net.trunc(), &route.dev, route.via));
        let best = connected
            .chain(routes)
            .filter(|(net, dev, _)| net.contains(&to) && is_up(dev))
            .max_by_key(|(net, ..)| net.prefix_len());
        match best {
            Some((_, dev, via)) if !dev.is_lo() => Path::Out {
                dev: dev.clone(),
                next: via.unwrap_or(to),
            },
            Some(_) | None => Path::None,
        }
    }

    /// The source address of packets to `to` out of `dev`: one of the same network if there is any, else the
    /// device's first, else any other but loopback's (`inet_select_addr`, net/ipv4/devinet.c).
    pub(super) fn source_for(&self, dev: &Dev, to: IpAddr) -> Option<IpAddr> {
        let same_family = || {
            self.addresses
                .iter()
                .filter(|address| address.net.addr().is_ipv4() == to.is_ipv4())
        };
        same_family()
            .find(|address| address.dev == *dev && address.net.contains(&to))
            .or_else(|| same_family().find(|address| address.dev == *dev))
            .or_else(|| same_family().find(|address| !address.net.addr().is_loopback()))
            .map(|address| address.net.addr())
    }

    /// Whether IPVS accepts `ip` as a real server: it checks the kind of address, not the route
    /// (`ip_vs_new_dest`, net/netfilter/ipvs/ip_vs_ctl.c). With `lo` down it accepts none.
    pub(super) fn can_be_destination(&self, ip: IpAddr) -> bool {
        let lo_is_up = self
            .devices
            .values()
            .any(|device| device.kind == LinkKind::Loopback && device.up);
        let is_unicast = match ip {
            IpAddr::V4(v4) => {
                let is_broadcast_of = |net: &IpNet| net.prefix_len() < 31 && net.broadcast() == ip;
                v4.octets()[0] != 0
                    && !v4.is_multicast()
                    && !v4.is_broadcast()
                    && !self
                        .addresses
                        .iter()
                        .any(|address| is_broadcast_of(&address.net))
            }
            IpAddr::V6(v6) => {
                !v6.is_multicast() && !v6.is_unspecified() && !v6.is_unicast_link_local()
            }
        };
        lo_is_up && is_unicast
    }
}

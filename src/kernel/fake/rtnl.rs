//! Links, addresses, routes and ARP settings, with rtnetlink's refusals (seen on 6.18 with `ip`).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::{Arp, ArpSettings, Dev, ForeignTag, IpvsSetting, LinkKind, host_prefix};

use super::{
    errno::Errno,
    machine::{Address, Machine, Route},
};

impl Machine {
    /// `ip link add DEV up type dummy`.
    pub fn add_dummy(&mut self, dev: &Dev) -> Result<(), Errno> {
        if self.devices.contains_key(dev) {
            return Err(Errno::Exists);
        }
        self.add_device(dev, LinkKind::Dummy);
        Ok(())
    }

    /// `ip link del DEV`; its addresses and routes go with it.
    pub fn del_link(&mut self, dev: &Dev) -> Result<(), Errno> {
        let device = self.devices.get(dev).ok_or(Errno::NoDevice)?;
        match device.kind {
            LinkKind::Loopback => return Err(Errno::NotSupported),
            LinkKind::Dummy | LinkKind::Other => {}
        }
        self.devices.remove(dev);
        self.addresses.retain(|address| address.dev != *dev);
        self.routes.retain(|route| route.dev != *dev);
        self.neighbours.retain(|(on, _), _| on != dev);
        Ok(())
    }

    /// `ip link set FROM name TO`. The index stays, and so do settings and addresses.
    pub fn rename(&mut self, from: &Dev, to: &Dev) -> Result<(), Errno> {
        if self.devices.contains_key(to) {
            return Err(Errno::Exists);
        }
        let device = self.devices.remove(from).ok_or(Errno::NoDevice)?;
        self.devices.insert(to.clone(), device);
        let addresses = self.addresses.iter_mut().map(|address| &mut address.dev);
        let routes = self.routes.iter_mut().map(|route| &mut route.dev);
        for dev in addresses.chain(routes).filter(|dev| *dev == from) {
            dev.clone_from(to);
        }
        self.neighbours.retain(|(on, _), _| on != from);
        Ok(())
    }

    /// `ip link set DEV up|down`. Going down deletes the routes and keeps the addresses.
    pub fn set_up(&mut self, dev: &Dev, up: bool) -> Result<(), Errno> {
        let device = self.devices.get_mut(dev).ok_or(Errno::NoDevice)?;
        device.up = up;
        if !up {
            self.routes.retain(|route| route.dev != *dev);
            self.neighbours.retain(|(on, _), _| on != dev);
        }
        Ok(())
    }

    /// `sysctl -w net.ipv4.conf.DEV.arp_…`; the kernel accepts any number.
    pub fn set_arp(&mut self, dev: &Dev, which: Arp, value: u32) -> Result<(), Errno> {
        let device = self.devices.get_mut(dev).ok_or(Errno::NoDevice)?;
        match which {
            Arp::Ignore => device.arp.ignore = value,
            Arp::Announce => device.arp.announce = value,
        }
        Ok(())
    }

    /// `sysctl -w net.ipv4.vs.…`.
    pub fn set_ipvs(&mut self, setting: IpvsSetting, value: u32) -> Result<(), Errno> {
        if self.ipvs.is_none() {
            return Err(Errno::NoEntry);
        }
        self.ipvs_settings.insert(setting, value);
        Ok(())
    }

    /// `sysctl -w net.ipv4.conf.all.arp_…`.
    pub fn set_arp_all(&mut self, settings: ArpSettings) {
        self.arp_all = settings;
    }

    /// `ip addr add NET dev DEV`; other devices may have the same address.
    pub fn add_address(&mut self, dev: &Dev, net: IpNet, tag: ForeignTag) -> Result<(), Errno> {
        self.devices.get(dev).ok_or(Errno::NoDevice)?;
        let is_there = |address: &Address| {
            address.dev == *dev
                && address.net.addr() == net.addr()
                // IPv6 identifies an address without its prefix (ipv6_add_addr, net/ipv6/addrconf.c).
                && (address.net.prefix_len() == net.prefix_len() || net.addr().is_ipv6())
        };
        if self.addresses.iter().any(is_there) {
            return Err(Errno::Exists);
        }
        self.addresses.push(Address {
            dev: dev.clone(),
            net,
            tag,
            until: None,
        });
        Ok(())
    }

    /// `ip addr del NET dev DEV`.
    pub fn del_address(&mut self, dev: &Dev, net: IpNet) -> Result<(), Errno> {
        self.devices.get(dev).ok_or(Errno::NoDevice)?;
        let index = self
            .addresses
            .iter()
            .position(|address| address.dev == *dev && address.net == net)
            .ok_or(Errno::NoAddress)?;
        self.addresses.remove(index);
        // Without its last address a device has no IPv4, and so no IPv4 routes
        // (fib_inetaddr_event, net/ipv4/fib_frontend.c).
        let has_v4 = |address: &Address| address.dev == *dev && address.net.addr().is_ipv4();
        if net.addr().is_ipv4() && !self.addresses.iter().any(has_v4) {
            self.routes
                .retain(|route| route.dev != *dev || route.net.addr().is_ipv6());
        }
        Ok(())
    }

    /// `ip route add NET [via GATEWAY] dev DEV`; one route per destination, whatever the device.
    pub fn add_route(
        &mut self,
        net: IpNet,
        via: Option<IpAddr>,
        dev: &Dev,
        ours: bool,
    ) -> Result<(), Errno> {
        let device = self.devices.get(dev).ok_or(Errno::NoDevice)?;
        if !device.up {
            return Err(Errno::NetDown);
        }
        if self.routes.iter().any(|route| route.net == net) {
            return Err(Errno::Exists);
        }
        self.routes.push(Route {
            net,
            dev: dev.clone(),
            via,
            ours,
        });
        Ok(())
    }

    /// `ip route del NET dev DEV`, with `proto` if it must be one of directway's.
    pub fn del_route(&mut self, net: IpNet, dev: &Dev, ours: bool) -> Result<(), Errno> {
        self.devices.get(dev).ok_or(Errno::NoDevice)?;
        let index = self
            .routes
            .iter()
            .position(|route| route.net == net && route.dev == *dev && (route.ours || !ours))
            .ok_or(Errno::NotFound)?;
        self.routes.remove(index);
        Ok(())
    }

    /// Whether the address fills its family's width.
    pub(super) fn is_host_sized(net: &IpNet) -> bool {
        net.prefix_len() == host_prefix(net.addr())
    }
}

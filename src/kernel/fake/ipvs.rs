//! Changes of an IPVS table with the kernel's refusals, and what LOCAL_IN does with a packet.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use crate::model::{
    Connections, Destination, IpvsSetting, Protocol, Scheduler, Service, ServiceKey, SyncDaemon,
    SyncHalf, host_prefix,
};

use super::{
    errno::Errno,
    machine::Machine,
    schedule,
    table::{Entry, Flow, IpvsDecision, Table, Turn},
};

impl Machine {
    fn table(&mut self) -> Result<&mut Table, Errno> {
        // The family lookup fails: there is no such generic-netlink family.
        self.ipvs.as_mut().ok_or(Errno::NoEntry)
    }

    /// `ipvsadm -A`.
    pub fn add_service(&mut self, key: ServiceKey, service: &Service) -> Result<(), Errno> {
        let lacks_module = self.no_module.contains(&service.scheduler);
        let table = self.table()?;
        if table.services.contains_key(&key) {
            return Err(Errno::Exists);
        }
        check_settings(&key, service, lacks_module)?;
        let entry = Entry {
            settings: service.settings(),
            destinations: Vec::new(),
            foreign: BTreeMap::new(),
            places: BTreeMap::new(),
            turn: Turn::default(),
        };
        table.services.insert(key, entry);
        Ok(())
    }

    /// `ipvsadm -E`.
    pub fn edit_service(&mut self, key: ServiceKey, service: &Service) -> Result<(), Errno> {
        let lacks_module = self.no_module.contains(&service.scheduler);
        let entry = self
            .table()?
            .services
            .get_mut(&key)
            .ok_or(Errno::NotFound)?;
        let changes_scheduler = entry.settings.scheduler != service.scheduler;
        check_settings(&key, service, lacks_module && changes_scheduler)?;
        if changes_scheduler {
            entry.turn = Turn::default();
        }
        entry.settings = service.settings();
        Ok(())
    }

    /// `ipvsadm -D`: the destinations go with it, the connections stay.
    pub fn del_service(&mut self, key: ServiceKey) -> Result<(), Errno> {
        self.table()?
            .services
            .remove(&key)
            .map(drop)
            .ok_or(Errno::NotFound)
    }

    /// `ipvsadm -a`.
    pub fn add_destination(
        &mut self,
        key: ServiceKey,
        address: IpAddr,
        destination: Destination,
    ) -> Result<(), Errno> {
        let can_be_destination = self.can_be_destination(address);
        let entry = self
            .table()?
            .services
            .get_mut(&key)
            .ok_or(Errno::NotFound)?;
        check_weight(destination)?;
        if entry.destinations.iter().any(|(ip, _)| *ip == address) {
            return Err(Errno::Exists);
        }
        if !can_be_destination {
            return Err(Errno::Invalid);
        }
        entry.destinations.push((address, destination));
        entry.places.insert(address, destination.weight);
        Ok(())
    }

    /// `ipvsadm -e`.
    pub fn edit_destination(
        &mut self,
        key: ServiceKey,
        address: IpAddr,
        destination: Destination,
    ) -> Result<(), Errno> {
        let entry = self
            .table()?
            .services
            .get_mut(&key)
            .ok_or(Errno::NotFound)?;
        check_weight(destination)?;
        let (_, there) = entry
            .destinations
            .iter_mut()
            .find(|(ip, _)| *ip == address)
            .ok_or(Errno::NoEntry)?;
        *there = destination;
        if destination.weight > 0 {
            entry.places.insert(address, destination.weight);
        }
        Ok(())
    }

    /// `ipvsadm -d`.
    pub fn del_destination(&mut self, key: ServiceKey, address: IpAddr) -> Result<(), Errno> {
        let entry = self
            .table()?
            .services
            .get_mut(&key)
            .ok_or(Errno::NotFound)?;
        let index = entry
            .destinations
            .iter()
            .position(|(ip, _)| *ip == address)
            .ok_or(Errno::NoEntry)?;
        entry.destinations.remove(index);
        entry.places.remove(&address);
        entry.turn.removed(index);
        Ok(())
    }

    /// `ipvsadm -a -r SERVER:PORT` with another port than the service's, by another program.
    pub fn add_foreign_destination(
        &mut self,
        key: ServiceKey,
        server: SocketAddr,
        destination: Destination,
    ) {
        let services = self.ipvs.as_mut().map(|table| &mut table.services);
        if let Some(entry) = services.and_then(|services| services.get_mut(&key)) {
            entry.foreign.insert(server, destination);
        }
    }

    /// `ipvsadm -d -r SERVER:PORT`.
    pub fn del_foreign_destination(
        &mut self,
        key: ServiceKey,
        server: SocketAddr,
    ) -> Result<(), Errno> {
        let services = &mut self.table()?.services;
        let entry = services.get_mut(&key).ok_or(Errno::NotFound)?;
        let gone = entry.foreign.remove(&server);
        gone.map(drop).ok_or(Errno::NoEntry)
    }

    /// `ipvsadm --start-daemon`.
    pub fn start_sync(&mut self, half: SyncHalf, daemon: &SyncDaemon) -> Result<(), Errno> {
        let table = self.table()?;
        if table.sync.contains_key(&half) {
            return Err(Errno::Exists);
        }
        table.sync.insert(half, daemon.clone());
        Ok(())
    }

    /// `ipvsadm --stop-daemon`.
    pub fn stop_sync(&mut self, half: SyncHalf) -> Result<(), Errno> {
        let stopped = self.table()?.sync.remove(&half);
        stopped.map(drop).ok_or(Errno::NotFound)
    }

    /// Sets the number of foreign services by firewall mark.
    pub fn set_fwmark_services(&mut self, count: usize) {
        if let Some(table) = &mut self.ipvs {
            table.fwmark_services = count;
        }
    }

    /// `sysctl -w net.ipv4.vs.sloppy_tcp`: whether any segment but a reset may begin a connection.
    pub fn set_sloppy_tcp(&mut self, sloppy: bool) {
        if let Some(table) = &mut self.ipvs {
            table.sloppy_tcp = sloppy;
        }
    }

    /// The hook at LOCAL_IN (`ip_vs_in_hook`, net/netfilter/ipvs/ip_vs_core.c). It sees packets before sockets do,
    /// so a real server that has the service too schedules again.
    pub(super) fn local_in(&mut self, flow: Flow, opening: bool) -> IpvsDecision {
        let is_on = |setting| self.ipvs_settings.get(&setting).is_some_and(|it| *it != 0);
        let expire = Expire {
            nodest_conn: is_on(IpvsSetting::ExpireNodestConn),
            quiescent_template: is_on(IpvsSetting::ExpireQuiescentTemplate),
        };
        match &mut self.ipvs {
            Some(table) => table.take(flow, opening, expire),
            None => IpvsDecision::Pass,
        }
    }
}

/// What the kernel forgets early.
#[derive(Clone, Copy)]
struct Expire {
    /// A connection whose destination was deleted ends at its next packet, which is then scheduled.
    nodest_conn: bool,
    /// A persistence template ends if its destination has weight 0 (`ip_vs_check_template`,
    /// net/netfilter/ipvs/ip_vs_conn.c).
    quiescent_template: bool,
}

impl Table {
    fn take(&mut self, flow: Flow, opening: bool, expire: Expire) -> IpvsDecision {
        let key = flow.service;
        if let Some(&address) = self.connections.get(&flow) {
            if self.has(&key, address) {
                return IpvsDecision::Forward(address);
            }
            if !expire.nodest_conn {
                return IpvsDecision::DestinationGone;
            }
            self.connections.remove(&flow);
        }
        let begins = opening
            || match key.protocol {
                Protocol::Tcp => self.sloppy_tcp,
                Protocol::Udp => true,
                Protocol::Sctp => false,
            };
        let Some(entry) = self.services.get(&key).filter(|_| begins) else {
            return IpvsDecision::Pass;
        };
        let template = entry
            .settings
            .persistence
            .map(|persistence| (key, network(flow.client, persistence.prefix_length)));
        let sticky = template
            .and_then(|template| self.templates.get(&template))
            .copied()
            .filter(|address| match self.weight(&key, *address) {
                Some(0) => !expire.quiescent_template,
                Some(_) => true,
                None => false,
            });
        let chosen = sticky.or_else(|| self.pick(flow));
        let Some(address) = chosen else {
            return IpvsDecision::NoDestination;
        };
        if let Some(template) = template {
            self.templates.insert(template, address);
        }
        self.connections.insert(flow, address);
        IpvsDecision::Forward(address)
    }

    fn pick(&mut self, flow: Flow) -> Option<IpAddr> {
        let counts = self.counts(&flow.service);
        let entry = self.services.get_mut(&flow.service)?;
        schedule::pick(entry, flow, &counts)
    }

    /// A destination's weight, if it is there.
    fn weight(&self, key: &ServiceKey, address: IpAddr) -> Option<u32> {
        let mut destinations = self.services.get(key)?.destinations.iter();
        let found = destinations.find(|(ip, _)| *ip == address);
        found.map(|(_, destination)| destination.weight)
    }

    fn has(&self, key: &ServiceKey, address: IpAddr) -> bool {
        self.weight(key, address).is_some()
    }

    fn counts(&self, key: &ServiceKey) -> BTreeMap<IpAddr, u32> {
        let mut counts = BTreeMap::new();
        for (_, address) in self
            .connections
            .iter()
            .filter(|(flow, _)| flow.service == *key)
        {
            *counts.entry(*address).or_insert(0) += 1;
        }
        counts
    }

    /// Connections of each destination of weight 0.
    pub fn draining(&self) -> BTreeMap<(ServiceKey, IpAddr), Connections> {
        let mut draining = BTreeMap::new();
        for (key, entry) in &self.services {
            let counts = self.counts(key);
            for (address, _) in entry.destinations.iter().filter(|(_, d)| d.weight == 0) {
                let count = counts.get(address).copied().unwrap_or(0);
                let (active, inactive) = match key.protocol {
                    Protocol::Tcp | Protocol::Sctp => (count, 0),
                    Protocol::Udp => (0, count),
                };
                let connections = Connections { active, inactive };
                draining.insert((*key, *address), connections);
            }
        }
        draining
    }
}

fn network(ip: IpAddr, prefix_length: u8) -> IpAddr {
    IpNet::new(ip, prefix_length).map_or(ip, |net| net.network())
}

fn check_settings(key: &ServiceKey, service: &Service, lacks_module: bool) -> Result<(), Errno> {
    if lacks_module || matches!(service.scheduler, Scheduler::Other(_)) {
        return Err(Errno::NoEntry);
    }
    let prefix = service
        .persistence
        .map_or(host_prefix(key.vip), |persistence| {
            persistence.prefix_length
        });
    // Checked for IPv6 only: an IPv4 mask may be anything (ip_vs_add_service).
    if key.vip.is_ipv6() && !(1..=128).contains(&prefix) {
        return Err(Errno::Invalid);
    }
    Ok(())
}

/// The kernel's weight is a signed int (`ip_vs_add_dest`).
fn check_weight(destination: Destination) -> Result<(), Errno> {
    i32::try_from(destination.weight)
        .map(drop)
        .map_err(|_| Errno::Range)
}

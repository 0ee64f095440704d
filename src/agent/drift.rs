//! Tells a repair from a change: an op repairs drift if what it sets was wanted, and set, by the last pass that applied
//! its ops.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    kernel::OpResults,
    model::{ArpReading, NodeNet, Observed, ServiceKey},
    plan::{ArpChange, Op},
};

use super::repairs::Repairs;

/// Whether `op` repairs a change that directway did not make, given what the last pass wanted and what is wanted now.
fn is_drift(op: &Op, before: &NodeNet, now: &NodeNet) -> bool {
    match op {
        Op::AddDummy(dev) | Op::DelDummy(dev) => {
            before.dummies.contains(dev) == now.dummies.contains(dev)
        }
        Op::Quiet(ArpChange { dev, .. }) | Op::Restore(ArpChange { dev, .. }) => {
            before.arp.get(dev) == now.arp.get(dev)
        }
        Op::SetIpvs(set) | Op::RestoreIpvs(set) => {
            before.ipvs.get(&set.setting) == now.ipvs.get(&set.setting)
        }
        Op::StartSync(half, _) | Op::StopSync(half) => before.sync.get(half) == now.sync.get(half),
        Op::AddAddress(key, _) | Op::DelAddress(key, _) => {
            before.addresses.get(key) == now.addresses.get(key)
        }
        Op::AddRoute(key) | Op::DelRoute(key) => {
            before.routes.contains(key) == now.routes.contains(key)
        }
        Op::AddService(key, _) | Op::EditService(key, _) | Op::DelService(key) => {
            match (before.services.get(key), now.services.get(key)) {
                (Some(before), Some(now)) => before.same_settings(now),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            }
        }
        // Nobody ever wants one.
        Op::DelForeignDestination(..) => true,
        Op::AddDestination(key, address, _)
        | Op::EditDestination(key, address, _)
        | Op::QuiesceDestination(key, address)
        | Op::DelDestination(key, address) => {
            let of = |net: &NodeNet| {
                let service = net.services.get(key)?;
                Some(service.destinations.get(address).copied())
            };
            of(before) == of(now)
        }
    }
}

/// How long a VIP whose services were found deleted is remembered: longer than kube-proxy waits between two syncs.
const REMEMBERED: Duration = Duration::from_secs(300);

/// In how many looks every service has its turn.
const ROUND: usize = 8;

/// Of how many interfaces the ARP settings are read at once: some nodes have one for each pod.
const INTERFACES: usize = 64;

/// Whether the kernel has a service, with its destinations, as it is wanted.
fn has_as_wanted(wanted: &NodeNet, key: &ServiceKey, observed: &Observed) -> bool {
    let first = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let mut foreign = observed.foreign_destinations.range((*key, first)..);
    let has_foreign = foreign.next().is_some_and(|((of, _), _)| of == key);
    !has_foreign && observed.net.services.get(key) == wanted.services.get(key)
}

/// What passes have set up, and which services were deleted since by others.
#[derive(Debug, Default)]
pub struct Drift {
    /// What was wanted by the last pass that applied its ops.
    wanted: Option<Arc<NodeNet>>,
    /// Those of its ops that failed or were skipped, as text. To try them again repairs no change.
    undone: BTreeSet<String>,
    /// Services that the kernel did not have as wanted after that pass, such as those that it refused.
    unsettled: BTreeSet<ServiceKey>,
    /// Whether that was the last pass.
    is_applied: bool,
    /// The ARP settings of the interfaces that shall be quiet, as they were after that pass.
    arp: ArpReading,
    /// Whose turn is next, of these interfaces.
    turn: usize,
    /// The service that was last checked.
    looked: Option<ServiceKey>,
    /// When services of a VIP were last found deleted.
    vanished: BTreeMap<IpAddr, Duration>,
    /// What was put right.
    repairs: Repairs,
    /// When the first of the repairs is due that the last pass left for later.
    postponed: Option<Duration>,
}

impl Drift {
    /// How many of `ops` repair changes that directway did not make, where this pass, at `now` and `at` on the wall clock,
    /// wants `wanted`.
    pub fn count(&mut self, ops: &[Op], wanted: &NodeNet, now: Duration, at: Timestamp) -> usize {
        let Some(before) = &self.wanted else {
            return 0;
        };
        let undone = &self.undone;
        let is_again = |op: &Op| !undone.is_empty() && undone.contains(&op.to_string());
        let repairs = ops
            .iter()
            .filter(|op| is_drift(op, before, wanted) && !is_again(op));
        let count = |count, op: &Op| {
            self.repairs.note(op, now, at);
            if let Op::AddService(key, _) = op {
                self.vanished.insert(key.vip, now);
            }
            count + 1
        };
        repairs.fold(0, count)
    }

    /// Takes out of `ops` the repairs that wait, because another program undoes them again and again.
    pub fn postpone(&mut self, ops: &mut Vec<Op>, wanted: &NodeNet, now: Duration) {
        self.postponed = None;
        let Some(before) = &self.wanted else {
            return;
        };
        ops.retain(|op| {
            let due = self.repairs.due(op).filter(|due| *due > now);
            let Some(due) = due.filter(|_| is_drift(op, before, wanted)) else {
                return true;
            };
            let first = self.postponed.map_or(due, |first| first.min(due));
            self.postponed = Some(first);
            false
        });
    }

    /// How long until a repair that waits is due.
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        self.postponed.map(|due| due.saturating_sub(now))
    }

    /// A pass begins.
    pub fn begin(&mut self, now: Duration) {
        self.is_applied = false;
        self.repairs.expire(now);
    }

    /// The pass has applied its ops: the kernel has all of `wanted` but what failed.
    pub fn applied(&mut self, wanted: &Arc<NodeNet>, results: &OpResults, observed: &Observed) {
        self.is_applied = true;
        self.arp = observed.arp_settings(wanted.arp.keys());
        self.wanted = Some(Arc::clone(wanted));
        self.undone = results.undone().map(ToString::to_string).collect();
        let keys = wanted.services.keys();
        let unsettled = keys.filter(|key| !has_as_wanted(wanted, key, observed));
        self.unsettled = unsettled.copied().collect();
    }

    /// What was put right since the agent's start.
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }

    /// VIPs whose services were found deleted lately.
    pub fn vanished(&mut self, now: Duration) -> BTreeSet<IpAddr> {
        let recent = |at: &Duration| now.saturating_sub(*at) < REMEMBERED;
        self.vanished.retain(|_, at| recent(at));
        self.vanished.keys().copied().collect()
    }

    /// How many services a look takes, so that each has its turn in [`ROUND`] looks.
    pub fn turn(&self) -> usize {
        let wanted = self.wanted.as_ref().filter(|_| self.is_applied);
        wanted.map_or(0, |wanted| wanted.services.len().div_ceil(ROUND))
    }

    /// Whether a service that was read just now is as the last pass left it.
    pub fn is_unchanged(&self, key: &ServiceKey, observed: &Observed) -> bool {
        let wanted = self.wanted.as_ref();
        wanted.is_none_or(|wanted| has_as_wanted(wanted, key, observed))
    }

    /// The service to check next, each in its turn. `None` after a pass that could apply nothing: it is retried anyway.
    pub fn next(&mut self) -> Option<ServiceKey> {
        let wanted = self.wanted.as_ref().filter(|_| self.is_applied)?;
        let services = &wanted.services;
        let after = self.looked.map_or(Bound::Unbounded, Bound::Excluded);
        let following = services.range((after, Bound::Unbounded));
        let mut keys = following.chain(services.iter()).map(|(key, _)| *key);
        self.looked = keys.find(|key| !self.unsettled.contains(key));
        self.looked
    }

    /// The ARP settings that should be as they were, of the next interfaces in their turn. `None` if no interface has to
    /// be quiet, or after a pass that could apply nothing.
    pub fn next_arp(&mut self) -> Option<ArpReading> {
        if !self.is_quiet() {
            return None;
        }
        let ArpReading { all, own } = &self.arp;
        let skipped = self.turn % own.len();
        let next = own.iter().cycle().skip(skipped);
        let next = next.take(own.len().min(INTERFACES));
        self.turn = skipped + INTERFACES;
        Some(ArpReading {
            all: *all,
            own: next.map(|(dev, arp)| (dev.clone(), *arp)).collect(),
        })
    }

    fn is_quiet(&self) -> bool {
        self.is_applied && !self.arp.own.is_empty()
    }

    /// Whether there is something to check.
    pub fn is_watching(&self) -> bool {
        let wanted = self.wanted.as_ref().filter(|_| self.is_applied);
        let services = wanted.map_or(0, |wanted| wanted.services.len());
        services > self.unsettled.len() || self.is_quiet()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        AddressKey, ArpSettings, Destination, Dev, Protocol, Role, Scheduler, Service,
    };

    const KEY: ServiceKey = ServiceKey {
        vip: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100)),
        port: 80,
        protocol: Protocol::Tcp,
    };

    fn server(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn net(servers: &[(u8, u32)]) -> NodeNet {
        let destinations: BTreeMap<_, _> = servers
            .iter()
            .map(|(last, weight)| (server(*last), Destination::direct(*weight)))
            .collect();
        let service = Service {
            scheduler: Scheduler::Rr,
            flags: Vec::new(),
            persistence: None,
            destinations,
        };
        let mut net = NodeNet::default();
        net.services.insert(KEY, service);
        net.addresses
            .insert(AddressKey::new(Dev::lo(), KEY.vip), Role::Quiet);
        net
    }

    /// A kernel that has these services.
    fn with_services(net: &NodeNet) -> Observed {
        Observed {
            net: net.clone(),
            ..Observed::default()
        }
    }

    #[test]
    fn a_repair_is_drift_and_a_change_is_not() {
        let add = |last, weight| Op::AddDestination(KEY, server(last), Destination::direct(weight));
        let (one, two) = (net(&[(1, 1)]), net(&[(1, 1), (2, 1)]));
        assert!(is_drift(&add(1, 1), &one, &two), "somebody deleted it");
        assert!(!is_drift(&add(2, 1), &one, &two), "it is new");
        assert!(
            !is_drift(&add(1, 3), &one, &net(&[(1, 3)])),
            "its weight is new"
        );
        let bind = Op::AddAddress(AddressKey::new(Dev::lo(), KEY.vip), Role::Quiet);
        assert!(is_drift(&bind, &one, &two));
        assert!(!is_drift(&bind, &NodeNet::default(), &two));
        assert!(!is_drift(&Op::DelService(KEY), &one, &NodeNet::default()));
        assert!(
            !is_drift(&add(1, 1), &NodeNet::default(), &one),
            "its service is new"
        );
    }

    #[test]
    fn every_service_has_its_turn() {
        let mut drift = Drift::default();
        let ports = |drift: &mut Drift| [(); 3].map(|()| drift.next().map(|key| key.port));
        assert_eq!(ports(&mut drift), [None; 3]);
        let mut wanted = net(&[]);
        let two = ServiceKey { port: 443, ..KEY };
        wanted.services.insert(two, wanted.services[&KEY].clone());
        let (both, one) = (with_services(&wanted), with_services(&net(&[])));
        let wanted = Arc::new(wanted);
        let apply = |drift: &mut Drift, observed| {
            drift.applied(&wanted, &OpResults::default(), observed);
        };
        apply(&mut drift, &both);
        assert!(drift.is_watching());
        assert_eq!(ports(&mut drift), [Some(80), Some(443), Some(80)]);
        apply(&mut drift, &one);
        assert_eq!(ports(&mut drift), [Some(80); 3], "the other was refused");
        drift.begin(Duration::ZERO);
        assert_eq!(ports(&mut drift), [None; 3], "a pass is due anyway");
        assert!(!drift.is_watching());
    }

    #[test]
    fn a_look_takes_an_eighth_of_many_services() {
        let mut drift = Drift::default();
        assert_eq!(drift.turn(), 0);
        let mut wanted = net(&[]);
        for port in 1..=17 {
            let service = wanted.services[&KEY].clone();
            wanted.services.insert(ServiceKey { port, ..KEY }, service);
        }
        let observed = with_services(&wanted);
        drift.applied(&Arc::new(wanted), &OpResults::default(), &observed);
        assert_eq!(drift.turn(), 3, "of 18 services");
    }

    #[test]
    fn every_part_of_a_service_counts() {
        let wanted = net(&[(1, 1), (2, 0)]);
        let mut drift = Drift::default();
        let observed = with_services(&wanted);
        drift.applied(&Arc::new(wanted), &OpResults::default(), &observed);
        assert!(drift.is_unchanged(&KEY, &observed));
        for other in [
            &[][..],
            &[(1, 1)],
            &[(1, 2), (2, 0)],
            &[(1, 1), (2, 0), (3, 1)],
        ] {
            assert!(!drift.is_unchanged(&KEY, &with_services(&net(other))));
        }
        assert!(!drift.is_unchanged(&KEY, &Observed::default()));
        let mut with_foreign = observed.clone();
        let foreign = (KEY, (server(1), 8080).into());
        let foreign_destinations = &mut with_foreign.foreign_destinations;
        foreign_destinations.insert(foreign, Destination::direct(1));
        assert!(!drift.is_unchanged(&KEY, &with_foreign));
    }

    #[test]
    fn every_interface_has_its_turn() {
        let dev = |n: usize| format!("veth{n:03}").parse::<Dev>().unwrap();
        let mut drift = Drift::default();
        assert_eq!(drift.next_arp(), None);
        let mut wanted = net(&[]);
        wanted.arp = (0..100).map(|n| (dev(n), ArpSettings::QUIET)).collect();
        drift.applied(
            &Arc::new(wanted),
            &OpResults::default(),
            &Observed::default(),
        );
        let turns = [(); 3].map(|()| drift.next_arp().unwrap().own);
        assert!(turns.iter().all(|own| own.len() == INTERFACES));
        let [first, second, _] = turns;
        let seen: BTreeSet<Dev> = first.into_keys().chain(second.into_keys()).collect();
        assert_eq!(seen.len(), 100);
    }
}

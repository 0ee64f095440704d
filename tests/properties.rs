//! Properties of every plan, for any wanted and observed state, on simulated kernels that also have foreign services.

// The suite is tests throughout; clippy.toml's exceptions reach only functions marked as such.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use directway::{
    kernel::{
        Kernel, execute,
        fake::{FakeKernel, FakeLan, Machine},
    },
    model::*,
    plan::{Op, Plan, plan},
};
use proptest::{collection::vec, prelude::*};

const NODE: &str = "node";

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, last])
}

fn dev(name: &str) -> Dev {
    name.parse().unwrap()
}

fn key(vip: u8, port: u16) -> ServiceKey {
    ServiceKey {
        vip: ip(vip),
        port,
        protocol: Protocol::Tcp,
    }
}

/// VIPs .100 to .102 may be wanted; VIP .200, and port 9 of every VIP, is foreign.
const FOREIGN_VIP: u8 = 200;
const FOREIGN_PORT: u16 = 9;

#[derive(Clone, Debug)]
struct WantedVip {
    last: u8,
    device: Dev,
    held: bool,
    host_route: bool,
    /// Port → real server → weight.
    services: BTreeMap<u16, BTreeMap<u8, u32>>,
}

fn wanted_vip(last: u8) -> impl Strategy<Value = WantedVip> {
    let devices = prop::sample::select(vec!["lo", "vip0", "vip1"]);
    let destinations = prop::collection::btree_map(11..15u8, 0..3u32, 0..4);
    let services = prop::collection::btree_map(80..82u16, destinations, 0..3);
    (devices, any::<bool>(), any::<bool>(), services).prop_map(
        move |(device, held, host_route, services)| WantedVip {
            last,
            device: dev(device),
            held,
            host_route,
            services,
        },
    )
}

/// Any subset of three VIPs.
fn wanted() -> impl Strategy<Value = NodeNet> {
    let vip = |last| prop::option::of(wanted_vip(last));
    (vip(100), vip(101), vip(102), daemons()).prop_map(|(a, b, c, sync)| NodeNet {
        sync,
        ..net([a, b, c].into_iter().flatten())
    })
}

/// Synchronisation daemons that are wanted; the running backup daemon is foreign.
fn daemons() -> impl Strategy<Value = SyncDaemons> {
    prop::collection::btree_map(
        prop::sample::select(&SyncHalf::ALL[..]),
        (1..3u32).prop_map(daemon),
        0..3,
    )
}

fn daemon(id: u32) -> SyncDaemon {
    SyncDaemon {
        dev: dev("eth0"),
        id,
    }
}

fn net(vips: impl Iterator<Item = WantedVip>) -> NodeNet {
    let mut net = NodeNet::default();
    for vip in vips {
        let quiet = AddressKey::new(vip.device.clone(), ip(vip.last));
        net.arp.insert(dev("eth0"), ArpSettings::QUIET);
        if !vip.device.is_lo() {
            net.dummies.insert(vip.device.clone());
        }
        if vip.host_route {
            net.routes.insert(quiet.clone());
        }
        net.addresses.insert(quiet, Role::Quiet);
        if vip.held {
            net.addresses
                .insert(AddressKey::new(dev("eth0"), ip(vip.last)), Role::Held);
        }
        for (port, destinations) in vip.services {
            let destinations = destinations
                .into_iter()
                .map(|(last, weight)| (ip(last), Destination::direct(weight)))
                .collect();
            net.services
                .insert(key(vip.last, port), service(destinations));
        }
    }
    net
}

fn service(destinations: BTreeMap<IpAddr, Destination>) -> Service {
    Service {
        scheduler: Scheduler::Wrr,
        flags: vec![],
        persistence: None,
        destinations,
    }
}

/// A node with one NIC, foreign services and a foreign backup daemon.
fn inhabited() -> FakeKernel {
    let lan = FakeLan::new();
    lan.add(
        NODE,
        Machine::new().nic(&dev("eth0"), "lan", ["10.77.0.10/24".parse().unwrap()]),
    );
    let mut kernel = lan.kernel(NODE);
    let foreign = Service {
        destinations: BTreeMap::new(),
        ..service(BTreeMap::new())
    };
    for vip in [FOREIGN_VIP, 100] {
        let ops = [Op::AddService(
            key(vip, FOREIGN_PORT),
            foreign.clone().into(),
        )];
        assert_eq!(kernel.apply(&ops), [Ok(())]);
        let ops = [Op::AddDestination(
            key(vip, FOREIGN_PORT),
            ip(99),
            Destination::direct(7),
        )];
        assert_eq!(kernel.apply(&ops), [Ok(())]);
    }
    let ops = [Op::StartSync(SyncHalf::Backup, daemon(7))];
    assert_eq!(kernel.apply(&ops), [Ok(())]);
    kernel
}

/// Everything that is neither wanted nor ours.
fn foreign(observed: &Observed) -> impl PartialEq + std::fmt::Debug + use<> {
    let services: BTreeMap<_, _> = observed
        .net
        .services
        .iter()
        .filter(|(key, _)| key.port == FOREIGN_PORT)
        .map(|(k, s)| (*k, s.clone()))
        .collect();
    let networks: Vec<_> = observed
        .links
        .values()
        .map(|link| link.addresses.clone())
        .collect();
    (
        services,
        observed.net.sync.get(&SyncHalf::Backup).cloned(),
        networks
            .into_iter()
            .filter(|list| !list.is_empty())
            .collect::<Vec<_>>(),
    )
}

/// Runs one plan to its end and returns the next ledger.
fn converge(
    kernel: &mut FakeKernel,
    wanted: &NodeNet,
    ledger: &Ledger,
) -> Result<Ledger, TestCaseError> {
    let observed = kernel.observe().unwrap();
    let plan = plan(wanted, &observed, ledger);
    in_safe_order(&plan, &observed)?;
    let before = foreign(&observed);
    let outcome = execute(kernel, plan.ops);
    prop_assert!(
        outcome.is_complete(),
        "{:?}",
        outcome.failures().collect::<Vec<_>>()
    );
    // The elections' part: they claim VIPs after the plan.
    for (key, role) in &wanted.addresses {
        if *role == Role::Held && !kernel.observe().unwrap().net.addresses.contains_key(key) {
            let claim = Op::AddAddress(key.clone(), Role::Held);
            prop_assert_eq!(kernel.apply(&[claim]), [Ok(())]);
        }
    }
    let after = kernel.observe().unwrap();
    prop_assert_eq!(foreign(&after), before);
    is_met(wanted, &after)?;
    let rest = directway::plan::plan(wanted, &after, &plan.ledger);
    prop_assert_eq!(&rest.ops, &Vec::<Op>::new(), "a second plan is empty");
    Ok(rest.ledger)
}

/// The kernel has all that is wanted, and nothing else of directway's.
fn is_met(wanted: &NodeNet, after: &Observed) -> Result<(), TestCaseError> {
    let vips: BTreeSet<IpAddr> = (100..103).map(ip).collect();
    let addresses: BTreeSet<_> = after
        .net
        .addresses
        .keys()
        .filter(|key| vips.contains(&key.ip))
        .collect();
    prop_assert_eq!(addresses, wanted.addresses.keys().collect());
    let services: BTreeMap<_, _> = after
        .net
        .services
        .iter()
        .filter(|(key, _)| key.port != FOREIGN_PORT)
        .collect();
    prop_assert_eq!(services, wanted.services.iter().collect());
    prop_assert_eq!(&after.net.dummies, &wanted.dummies);
    prop_assert_eq!(&after.net.routes, &wanted.routes);
    let quiet = after.links.get("eth0").unwrap().arp.is_quiet();
    prop_assert_eq!(quiet, !wanted.arp.is_empty());
    Ok(())
}

/// No prefix of the plan breaks a safety rule.
fn in_safe_order(plan: &Plan, observed: &Observed) -> Result<(), TestCaseError> {
    let mut quiet = observed.links.get("eth0").unwrap().arp;
    let mut addresses: BTreeSet<AddressKey> = observed.net.addresses.keys().cloned().collect();
    let mut weights: BTreeMap<(ServiceKey, IpAddr), u32> = BTreeMap::new();
    for (key, service) in &observed.net.services {
        weights.extend(
            service
                .destinations
                .iter()
                .map(|(ip, destination)| ((*key, *ip), destination.weight)),
        );
    }
    for op in &plan.ops {
        let carried =
            |ip: IpAddr, addresses: &BTreeSet<AddressKey>| addresses.iter().any(|key| key.ip == ip);
        match op {
            Op::Quiet(set) | Op::Restore(set) => {
                match set.which {
                    Arp::Ignore => quiet.ignore = set.to,
                    Arp::Announce => quiet.announce = set.to,
                }
                let vips = addresses
                    .iter()
                    .any(|key| (100..103).any(|last| key.ip == ip(last)));
                prop_assert!(
                    quiet.is_quiet() || !vips || matches!(op, Op::Quiet(_)),
                    "{op}: loud with a VIP"
                );
            }
            Op::AddAddress(key, role) => {
                prop_assert!(quiet.is_quiet(), "{op}: quiet before VIP");
                prop_assert!(*role == Role::Quiet, "{op}: claims are the elections'");
                addresses.insert(key.clone());
            }
            Op::DelAddress(key, _) => {
                addresses.remove(key);
            }
            Op::AddDestination(key, ip, destination)
            | Op::EditDestination(key, ip, destination) => {
                prop_assert!(
                    carried(key.vip, &addresses),
                    "{op}: VIP on lo before services"
                );
                weights.insert((*key, *ip), destination.weight);
            }
            Op::QuiesceDestination(key, ip) => {
                weights.insert((*key, *ip), 0);
            }
            Op::DelDestination(key, ip) => {
                prop_assert_eq!(
                    weights.get(&(*key, *ip)),
                    Some(&0),
                    "{}: weight 0 before delete",
                    op
                );
            }
            Op::DelService(key) => {
                let on_nic = AddressKey::new(dev("eth0"), key.vip);
                let stays = plan
                    .ops
                    .iter()
                    .all(|other| *other != Op::DelAddress(on_nic.clone(), Role::Held));
                prop_assert!(
                    stays || !addresses.contains(&on_nic),
                    "{op}: the VIP leaves the NIC first"
                );
            }
            Op::AddService(..)
            | Op::EditService(..)
            | Op::AddDummy(_)
            | Op::DelDummy(_)
            | Op::SetIpvs(_)
            | Op::RestoreIpvs(_)
            | Op::StartSync(..)
            | Op::StopSync(_)
            | Op::AddRoute(_)
            | Op::DelRoute(_)
            | Op::DelForeignDestination(..) => {}
        }
        let text = op.to_string();
        prop_assert!(
            ![".200", ":9 ", "backup"].iter().any(|it| text.contains(it)),
            "foreign: {text}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn from_anything_to_anything_and_back_to_nothing(stages in vec(wanted(), 1..5)) {
        let mut kernel = inhabited();
        let start = kernel.observe().unwrap();
        let mut ledger = Ledger::default();
        for wanted in &stages {
            ledger = converge(&mut kernel, wanted, &ledger)?;
        }
        ledger = converge(&mut kernel, &NodeNet::default(), &ledger)?;
        prop_assert_eq!(kernel.observe().unwrap(), start, "undone without a trace");
        prop_assert_eq!(ledger, Ledger::default());
    }

    #[test]
    fn a_plan_cut_off_anywhere_is_finished_by_the_next(first in wanted(), second in wanted(), cut in any::<prop::sample::Index>()) {
        let mut kernel = inhabited();
        let start = kernel.observe().unwrap();
        let ledger = converge(&mut kernel, &first, &Ledger::default())?;
        let plan = plan(&second, &kernel.observe().unwrap(), &ledger);
        let kept = cut.index(plan.ops.len() + 1);
        execute(&mut kernel, plan.ops.into_iter().take(kept).collect());
        let ledger = converge(&mut kernel, &second, &plan.ledger)?;
        converge(&mut kernel, &NodeNet::default(), &ledger)?;
        prop_assert_eq!(kernel.observe().unwrap(), start);
    }
}

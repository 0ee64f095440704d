use proptest::prelude::*;

use super::*;
use crate::{
    kernel::{Kernel, fake::FakeKernel},
    model::{AddressKey, IpvsSetting, LinkKind, NodeNet, Role, SyncDaemon, SyncHalf},
    plan::{ArpChange, IpvsChange, Op, Phase},
};

fn devices() -> impl Strategy<Value = Dev> {
    prop::sample::select(vec!["lo", "eth0", "dw0", "dw1"]).prop_map(dev)
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    (100u8..103).prop_map(|last| ip(&format!("10.0.0.{last}")))
}

fn keys() -> impl Strategy<Value = AddressKey> {
    (devices(), addresses()).prop_map(|(dev, ip)| AddressKey::new(dev, ip))
}

fn services() -> impl Strategy<Value = ServiceKey> {
    (addresses(), prop::sample::select(vec![80, 443])).prop_map(|(vip, port)| ServiceKey {
        vip,
        port,
        protocol: Protocol::Tcp,
    })
}

fn role(key: &AddressKey) -> Role {
    match key.dev.as_str() {
        "eth0" => Role::Held,
        _ => Role::Quiet,
    }
}

fn ops() -> impl Strategy<Value = Op> {
    let dummy = prop::sample::select(vec!["dw0", "dw1"]).prop_map(dev);
    let scheduler = prop::sample::select(Scheduler::ALL.to_vec());
    let real = || (9u8..13).prop_map(|last| ip(&format!("10.0.0.{last}")));
    let arp = (devices(), any::<bool>(), 0u32..3).prop_map(|(dev, ignore, to)| ArpChange {
        dev,
        which: if ignore { Arp::Ignore } else { Arp::Announce },
        from: 0,
        to,
    });
    prop_oneof![
        dummy.clone().prop_map(Op::AddDummy),
        dummy.prop_map(Op::DelDummy),
        arp.prop_map(Op::Quiet),
        keys().prop_map(|key| Op::AddAddress(key.clone(), role(&key))),
        keys().prop_map(|key| Op::DelAddress(key.clone(), role(&key))),
        keys().prop_map(Op::AddRoute),
        keys().prop_map(Op::DelRoute),
        (services(), scheduler.clone()).prop_map(|(key, s)| Op::AddService(key, service(s).into())),
        (services(), scheduler).prop_map(|(key, s)| Op::EditService(key, service(s).into())),
        services().prop_map(Op::DelService),
        (services(), real(), 0u32..4).prop_map(|(key, ip, weight)| Op::AddDestination(
            key,
            ip,
            Destination::direct(weight)
        )),
        (services(), real(), 1u32..4).prop_map(|(key, ip, weight)| Op::EditDestination(
            key,
            ip,
            Destination::direct(weight)
        )),
        (services(), real()).prop_map(|(key, ip)| Op::QuiesceDestination(key, ip)),
        (services(), real()).prop_map(|(key, ip)| Op::DelDestination(key, ip)),
        (prop::sample::select(IpvsSetting::ALL.to_vec()), 0u32..3)
            .prop_map(|(setting, to)| Op::SetIpvs(IpvsChange { setting, to })),
        (
            prop::sample::select(SyncHalf::ALL.to_vec()),
            devices(),
            1u32..3
        )
            .prop_map(|(half, dev, id)| Op::StartSync(half, SyncDaemon { dev, id })),
        prop::sample::select(SyncHalf::ALL.to_vec()).prop_map(Op::StopSync),
    ]
}

/// The effect of an accepted op, implemented a second time and as simply as possible.
fn expect(net: &mut NodeNet, op: &Op) {
    match op {
        Op::AddDummy(dev) => {
            net.dummies.insert(dev.clone());
            net.arp.insert(dev.clone(), ArpSettings::default());
        }
        Op::DelDummy(dev) => {
            net.dummies.remove(dev);
            net.arp.remove(dev);
            net.addresses.retain(|key, _| key.dev != *dev);
            net.routes.retain(|key| key.dev != *dev);
        }
        Op::Quiet(set) | Op::Restore(set) => {
            let settings = net.arp.get_mut(&set.dev).unwrap();
            match set.which {
                Arp::Ignore => settings.ignore = set.to,
                Arp::Announce => settings.announce = set.to,
            }
        }
        Op::SetIpvs(set) | Op::RestoreIpvs(set) => {
            net.ipvs.insert(set.setting, set.to);
        }
        Op::StartSync(half, daemon) => {
            net.sync.insert(*half, daemon.clone());
        }
        Op::StopSync(half) => {
            net.sync.remove(half);
        }
        Op::AddAddress(key, role) => {
            net.addresses.insert(key.clone(), *role);
        }
        Op::DelAddress(key, _) => {
            net.addresses.remove(key);
            // eth0 and lo keep other addresses; a dummy without any has no routes.
            if net.dummies.contains(&key.dev)
                && !net.addresses.keys().any(|other| other.dev == key.dev)
            {
                net.routes.retain(|route| route.dev != key.dev);
            }
        }
        Op::AddRoute(key) => {
            net.routes.insert(key.clone());
        }
        Op::DelRoute(key) => {
            net.routes.remove(key);
        }
        Op::AddService(key, service) => {
            net.services.insert(*key, (**service).clone());
        }
        Op::EditService(key, service) => {
            let there = net.services.get_mut(key).unwrap();
            there.scheduler = service.scheduler.clone();
        }
        Op::DelService(key) => {
            net.services.remove(key);
        }
        Op::AddDestination(key, ip, destination) | Op::EditDestination(key, ip, destination) => {
            let service = net.services.get_mut(key).unwrap();
            service.destinations.insert(*ip, *destination);
        }
        Op::QuiesceDestination(key, ip) => {
            let service = net.services.get_mut(key).unwrap();
            service.destinations.insert(*ip, Destination::direct(0));
        }
        Op::DelDestination(key, ip) => {
            net.services.get_mut(key).unwrap().destinations.remove(ip);
        }
        // A destination that is in no [`NodeNet`].
        Op::DelForeignDestination(..) => {}
    }
}

/// What the op changes. Ops that change the same thing depend on their order.
fn thing(op: &Op) -> String {
    let address = |key: &AddressKey| format!("{} {}", key.dev, key.ip);
    match op {
        Op::AddDummy(dev) | Op::DelDummy(dev) => dev.to_string(),
        Op::Quiet(set) | Op::Restore(set) => format!("{} {:?}", set.dev, set.which),
        Op::SetIpvs(set) | Op::RestoreIpvs(set) => set.setting.to_string(),
        Op::StartSync(half, _) | Op::StopSync(half) => half.to_string(),
        Op::AddAddress(key, _) | Op::DelAddress(key, _) => address(key),
        // One route per destination.
        Op::AddRoute(key) | Op::DelRoute(key) => key.ip.to_string(),
        Op::AddService(key, _) | Op::EditService(key, _) | Op::DelService(key) => key.to_string(),
        Op::AddDestination(key, ip, _)
        | Op::EditDestination(key, ip, _)
        | Op::QuiesceDestination(key, ip)
        | Op::DelDestination(key, ip) => format!("{key} {ip}"),
        Op::DelForeignDestination(key, server) => format!("{key} {server}"),
    }
}

proptest! {
    #[test]
    fn observe_shows_what_was_accepted_and_nothing_of_what_was_refused(
        ops in prop::collection::vec(ops(), 0..60),
    ) {
        let mut kernel = FakeKernel::alone(host(10));
        let mut expected = kernel.observe().unwrap().net;
        for op in &ops {
            if kernel.apply(std::slice::from_ref(op))[0].is_ok() {
                expect(&mut expected, op);
            }
        }
        let observed = kernel.observe().unwrap();
        prop_assert_eq!(&observed.net, &expected);
        for (dev, link) in &observed.links {
            prop_assert_eq!(link.kind == LinkKind::Dummy, expected.dummies.contains(dev));
        }
        for key in observed.net.addresses.keys() {
            prop_assert!(observed.addresses.contains_key(key));
        }
    }

    #[test]
    fn within_a_phase_the_order_does_not_matter(
        before in prop::collection::vec(ops(), 0..40),
        batch in prop::collection::vec(ops(), 1..40),
        phase in prop::sample::select(Phase::ALL.to_vec()),
        seed in any::<u64>(),
    ) {
        let mut seen = std::collections::BTreeSet::new();
        let batch: Vec<Op> = batch
            .into_iter()
            .filter(|op| op.phase() == phase && seen.insert(thing(op)))
            .collect();
        let mut shuffled: Vec<(usize, &Op)> = batch.iter().enumerate().collect();
        shuffled.sort_by_key(|(index, _)| (*index as u64 + 1).wrapping_mul(seed | 1));

        let mut kernel = FakeKernel::alone(host(10));
        kernel.apply(&before);
        let results = kernel.apply(&batch);

        let mut other = FakeKernel::alone(host(10));
        other.apply(&before);
        for (index, op) in shuffled {
            prop_assert_eq!(&other.apply(std::slice::from_ref(op))[0], &results[index]);
        }
        prop_assert_eq!(other.observe().unwrap().net, kernel.observe().unwrap().net);
    }
}

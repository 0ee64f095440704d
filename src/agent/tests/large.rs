//! A report of thousands of VirtualServices.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::*;
use crate::{
    agent::PassState,
    desired::{DrainTimers, Inputs, NodeOptions, RecentDirectors, admit, desired},
    health::Health,
    kernel::OpResults,
    model::{
        Answer, Elected, ForeignTag, IpRanges, KubeProxy, Ledger, Mac, ObservedAddress, PeerState,
        ProxyAnswer, Reach, Reserved, VipDevices, WireEvidence,
    },
    plan::plan,
};

/// Reports of a director of `services` with `servers` real servers each, before and after these are bound.
fn reports(services: u32, servers: u8) -> (Report, Report) {
    let mut store = Store::new(&[
        SourceName::VirtualServices,
        SourceName::Nodes,
        SourceName::NodeStates,
    ]);
    let vip = |index: u32| IpAddr::from((0x0a01_0000_u32 + index).to_be_bytes());
    let Some(Change::VirtualService(one)) = Change::of(SERVICE).pop() else {
        panic!("no VirtualService in {SERVICE}")
    };
    for index in 0..services {
        let mut another = one.clone();
        another.key.name = format!("web-{index}");
        another.uid = format!("6f1c0b4e-0000-4000-8000-{index:012}");
        let virtual_service = Arc::make_mut(another.parsed.as_mut().unwrap());
        virtual_service.key.name.clone_from(&another.key.name);
        virtual_service.uid.clone_from(&another.uid);
        virtual_service.vips = vec![vip(index)];
        store.apply(vec![Change::VirtualService(another)]);
    }
    let mut nodes = vec![("d".to_owned(), 1, "director")];
    nodes.extend((0..servers).map(|index| (format!("b{index}"), 10 + index, "backend")));
    let silence = (0..services).map(|index| (vip(index), Answer::default()));
    let mut wire = WireEvidence {
        answers: silence.collect(),
        ..WireEvidence::default()
    };
    for (name, last, role) in &nodes {
        store.apply(Change::of(&format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{directway.dev/{role}: \"\"}}}}\n\
             status: {{addresses: [{{type: InternalIP, address: 10.0.0.{last}}}]}}\n"
        )));
        let reach = Reach::Neighbour {
            dev: eth0(),
            mac: Mac([2, 0, 0, 0, 0, *last]),
        };
        wire.reach.insert([10, 0, 0, *last].into(), reach);
    }
    let address = "10.0.0.1/8".parse().unwrap();
    let lan = FakeLan::new();
    lan.add("d", Machine::new().nic(&eth0(), "lan", [address]));
    let mut observed = lan.kernel("d").observe().unwrap();
    let mut ledger = Ledger::default();
    let waiting = report_after(&store, &mut observed, &mut ledger, &wire);
    let bound = (0..services).map(vip).collect();
    let peer = PeerState {
        bound,
        ..PeerState::default()
    };
    for (name, ..) in &nodes {
        store.apply(vec![Change::Peer(NodeName(name.clone()), peer.clone())]);
    }
    let serving = report_after(&store, &mut observed, &mut ledger, &wire);
    (waiting, serving)
}

/// The report after everything desired took effect.
fn report_after(
    store: &Store,
    observed: &mut Observed,
    ledger: &mut Ledger,
    wire: &WireEvidence,
) -> Report {
    let admission = admit(store.snapshot());
    let node = "d".into();
    let wanted = desired(&Inputs {
        node: &node,
        snapshot: store.snapshot(),
        admission: &admission,
        observed,
        ledger,
        reserved: &Reserved::new(),
        wire,
        health: Health::Assumed,
        elected: &Elected::default(),
        former: &RecentDirectors::default(),
        complete: true,
        options: &NodeOptions::default(),
        timers: &DrainTimers::default(),
        now: Duration::ZERO,
    });
    *ledger = plan(&wanted.net, observed, ledger).ledger;
    observed.net.addresses.clone_from(&wanted.net.addresses);
    observed.net.services.clone_from(&wanted.net.services);
    for key in wanted.net.addresses.keys() {
        let ours = ObservedAddress {
            tag: ForeignTag::Ours,
            valid_seconds: None,
        };
        observed.addresses.insert(key.clone(), ours);
    }
    for (dev, settings) in &wanted.net.arp {
        observed.links.get_mut(dev).unwrap().arp = *settings;
    }
    let end = PassResult {
        outcome: OpResults::default(),
        drift: 0,
        error: None,
        state: Some(PassState {
            admission,
            desired: wanted,
            observed: observed.clone(),
            ledger: ledger.clone(),
            reserved: Reserved::new(),
            conflicts: BTreeMap::new(),
            moves: Vec::new(),
            // kube-proxy endangers all of the VIPs, too.
            kube_proxy: ProxyAnswer::Config(KubeProxy {
                mode: "ipvs".to_owned(),
                exclude_cidrs: Vec::new(),
            }),
            repairs: BTreeMap::new(),
            overwritten: BTreeMap::new(),
            vanished: BTreeSet::new(),
            vip_devices: VipDevices::default(),
            incomplete: IpRanges::default(),
            drains: BTreeMap::new(),
        }),
        next: NextPass::default(),
    };
    report(&node, store, &end, 0).unwrap()
}

#[test]
fn the_report_of_ten_thousand_virtual_services_is_small() {
    let size = |report: &Report| serde_json::to_vec(&report.to_status()).unwrap().len();
    let (waiting, serving) = reports(10_000, 10);
    assert!(
        serving.refused.is_empty(),
        "{:?}",
        serving.refused.values().next()
    );
    assert_eq!((serving.services, serving.destinations), (10_000, 100_000));
    assert_eq!(serving.warnings.values().next().unwrap().len(), 10_000);
    for (what, report) in [("waiting", waiting), ("serving", serving)] {
        let size = size(&report);
        assert!(size < 256 * 1024, "{what}: {size} bytes");
    }
}

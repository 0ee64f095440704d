//! Plans by example; what holds of every plan is in `tests/properties.rs`.

use std::{collections::BTreeMap, net::IpAddr};

use super::{ArpChange, Op, Phase, Plan, plan};
use crate::model::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn dev(name: &str) -> Dev {
    name.parse().unwrap()
}

const VIP: &str = "10.77.0.100";

fn key() -> ServiceKey {
    ServiceKey {
        vip: ip(VIP),
        port: 80,
        protocol: Protocol::Tcp,
    }
}

fn service(weights: &[(&str, u32)]) -> Service {
    let destinations = weights
        .iter()
        .map(|(address, weight)| (ip(address), Destination::direct(*weight)))
        .collect();
    Service {
        scheduler: Scheduler::Mh,
        flags: vec![Flag::Port],
        persistence: Some(Persistence {
            timeout_seconds: 300,
            prefix_length: 24,
        }),
        destinations,
    }
}

fn eth0(arp: ArpSettings) -> Link {
    Link {
        index: 2,
        dev: dev("eth0"),
        mac: None,
        kind: LinkKind::Other,
        up: true,
        carrier: true,
        arp_capable: true,
        enslaved: false,
        addresses: vec![],
        arp,
    }
}

fn observed(arp: ArpSettings) -> Observed {
    Observed {
        links: [(dev("eth0"), eth0(arp))].into(),
        ..Observed::default()
    }
}

/// A holder with one real server, which carries the VIP on a dummy device with a host route.
fn holder() -> NodeNet {
    let quiet = AddressKey::new(dev("vip0"), ip(VIP));
    NodeNet {
        dummies: [dev("vip0")].into(),
        addresses: [
            (quiet.clone(), Role::Quiet),
            (AddressKey::new(dev("eth0"), ip(VIP)), Role::Held),
        ]
        .into(),
        claims: [AddressKey::new(dev("eth0"), ip(VIP))].into(),
        routes: [quiet].into(),
        arp: [(dev("eth0"), ArpSettings::QUIET)].into(),
        services: [(key(), service(&[("10.77.0.11", 1)]))].into(),
        ipvs: BTreeMap::new(),
        sync: SyncDaemons::new(),
    }
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.ops.iter().map(ToString::to_string).collect()
}

/// What the kernel would show once `net` is in place, tagged as ours.
fn in_place(net: NodeNet, arp: ArpSettings) -> Observed {
    let tag = ObservedAddress {
        tag: ForeignTag::Ours,
        valid_seconds: None,
    };
    Observed {
        addresses: net.addresses.keys().map(|key| (key.clone(), tag)).collect(),
        our_routes: net.routes.clone(),
        net: NodeNet {
            arp: BTreeMap::new(),
            ..net
        },
        ..observed(arp)
    }
}

#[test]
fn coming_in_is_quiet_first_and_answers_last() {
    let plan = plan(
        &holder(),
        &observed(ArpSettings::default()),
        &Ledger::default(),
    );
    assert_eq!(
        lines(&plan),
        [
            "sysctl -w net.ipv4.conf.eth0.arp_ignore=1",
            "sysctl -w net.ipv4.conf.eth0.arp_announce=2",
            "ip link add vip0 up type dummy",
            "ip addr add 10.77.0.100/32 dev vip0 proto 215",
            "ip route add 10.77.0.100/32 dev vip0 proto 215",
            "ipvsadm -A -t 10.77.0.100:80 -s mh -p 300 -M 255.255.255.0 -b mh-port",
            "ipvsadm -a -t 10.77.0.100:80 -r 10.77.0.11:80 -g -w 1",
        ]
    );
}

#[test]
fn going_out_is_the_reverse_and_restores_what_was() {
    let first = plan(
        &holder(),
        &observed(ArpSettings {
            ignore: 0,
            announce: 1,
        }),
        &Ledger::default(),
    );
    let out = plan(
        &NodeNet::default(),
        &in_place(holder(), ArpSettings::QUIET),
        &first.ledger,
    );
    assert_eq!(
        lines(&out),
        [
            "ip addr del 10.77.0.100/32 dev eth0",
            "ip route del 10.77.0.100/32 dev vip0 proto 215",
            "ipvsadm -D -t 10.77.0.100:80",
            "ip addr del 10.77.0.100/32 dev vip0",
            "ip link del vip0",
            "sysctl -w net.ipv4.conf.eth0.arp_ignore=0",
            "sysctl -w net.ipv4.conf.eth0.arp_announce=1",
        ]
    );
    let nothing = plan(
        &NodeNet::default(),
        &observed(ArpSettings {
            ignore: 0,
            announce: 1,
        }),
        &out.ledger,
    );
    assert_eq!(
        nothing,
        Plan::default(),
        "the ledger is empty when nothing is ours"
    );
}

#[test]
fn what_is_in_place_is_not_touched() {
    let first = plan(
        &holder(),
        &observed(ArpSettings::default()),
        &Ledger::default(),
    );
    let second = plan(
        &holder(),
        &in_place(holder(), ArpSettings::QUIET),
        &first.ledger,
    );
    assert_eq!(lines(&second), [""; 0]);
    assert_eq!(second.ledger, first.ledger);
}

#[test]
fn a_destination_loses_its_weight_before_it_is_deleted_and_new_ones_come_first() {
    let mut wanted = holder();
    wanted.services = [(key(), service(&[("10.77.0.12", 1), ("10.77.0.13", 5)]))].into();
    let mut there = holder();
    there.services = [(key(), service(&[("10.77.0.11", 1), ("10.77.0.13", 2)]))].into();
    let ledger = Ledger {
        services: [key()].into(),
        ..Ledger::default()
    };
    let plan = plan(&wanted, &in_place(there, ArpSettings::QUIET), &ledger);
    assert_eq!(
        lines(&plan),
        [
            "ipvsadm -a -t 10.77.0.100:80 -r 10.77.0.12:80 -g -w 1",
            "ipvsadm -e -t 10.77.0.100:80 -r 10.77.0.13:80 -g -w 5",
            "ipvsadm -e -t 10.77.0.100:80 -r 10.77.0.11:80 -g -w 0",
            "ipvsadm -d -t 10.77.0.100:80 -r 10.77.0.11:80",
        ]
    );
}

#[test]
fn foreign_things_appear_in_no_op() {
    let mut there = in_place(
        holder(),
        ArpSettings {
            ignore: 2,
            announce: 2,
        },
    );
    for address in there.addresses.values_mut() {
        address.tag = ForeignTag::Theirs(17);
    }
    there.our_routes.clear();
    assert_eq!(
        plan(&NodeNet::default(), &there, &Ledger::default()),
        Plan::default()
    );
    assert_eq!(
        plan(&holder(), &there, &Ledger::default()),
        Plan::default(),
        "used where it fits, and not adopted"
    );
}

#[test]
fn a_setting_that_somebody_changed_since_is_theirs() {
    let first = plan(
        &holder(),
        &observed(ArpSettings::default()),
        &Ledger::default(),
    );
    let changed = in_place(
        holder(),
        ArpSettings {
            ignore: 2,
            announce: 2,
        },
    );
    let out = plan(&NodeNet::default(), &changed, &first.ledger);
    let restored: Vec<_> = lines(&out)
        .into_iter()
        .filter(|line| line.starts_with("sysctl"))
        .collect();
    assert_eq!(restored, ["sysctl -w net.ipv4.conf.eth0.arp_announce=0"]);
}

#[test]
fn a_setting_that_is_changed_twice_is_given_back_as_it_was_at_first() {
    let id = (dev("eth0"), Arp::Ignore);
    let change = SettingChange { before: 0, set: 1 };
    let ledger = Ledger {
        arp: [(id.clone(), change)].into(),
        ..Ledger::default()
    };
    let quiet = ArpSettings::QUIET;
    let wanted = NodeNet {
        arp: [(dev("eth0"), ArpSettings { ignore: 8, ..quiet })].into(),
        ..NodeNet::default()
    };
    let again = plan(&wanted, &observed(quiet), &ledger);
    let twice = SettingChange { before: 0, set: 8 };
    assert_eq!(again.ledger.arp.get(&id), Some(&twice));
}

#[test]
fn a_claim_is_known_before_it_is_made_unless_somebody_else_has_the_address() {
    let claim = AddressKey::new(dev("eth0"), ip(VIP));
    let wanted = NodeNet {
        claims: [claim.clone()].into(),
        ..NodeNet::default()
    };
    let mut observed = observed(ArpSettings::default());
    let known = |observed: &Observed| {
        let plan = plan(&wanted, observed, &Ledger::default());
        assert_eq!(plan.ops, [], "the election claims");
        plan.ledger.addresses.contains(&claim)
    };
    assert!(known(&observed));
    observed.net.addresses.insert(claim.clone(), Role::Held);
    assert!(!known(&observed));
}

#[test]
fn a_dummy_device_stays_while_somebody_else_uses_it() {
    let ledger = Ledger {
        dummies: [dev("vip0")].into(),
        ..Ledger::default()
    };
    let mut observed = observed(ArpSettings::default());
    observed.net.dummies.insert(dev("vip0"));
    let unused = plan(&NodeNet::default(), &observed, &ledger);
    assert_eq!(unused.ops, [Op::DelDummy(dev("vip0"))]);
    let used = Link {
        dev: dev("vip0"),
        addresses: vec!["10.99.0.1/24".parse().unwrap()],
        ..eth0(ArpSettings::default())
    };
    observed.links.insert(dev("vip0"), used);
    assert_eq!(plan(&NodeNet::default(), &observed, &ledger).ops, []);
}

#[test]
fn conf_all_that_is_already_quiet_leaves_the_interface_alone() {
    let mut there = observed(ArpSettings::default());
    there.arp_all = ArpSettings::QUIET;
    let plan = plan(&holder(), &there, &Ledger::default());
    assert!(
        lines(&plan).iter().all(|line| !line.starts_with("sysctl")),
        "{:?}",
        lines(&plan)
    );
}

#[test]
fn a_lost_ledger_is_read_from_the_tags() {
    let there = in_place(holder(), ArpSettings::QUIET);
    let adopted = Ledger::adopt(&there);
    assert_eq!(adopted.services, [key()].into());
    let out = plan(&NodeNet::default(), &there, &adopted);
    assert!(lines(&out).contains(&"ipvsadm -D -t 10.77.0.100:80".to_owned()));
    assert!(lines(&out).contains(&"ip addr del 10.77.0.100/32 dev eth0".to_owned()));
}

#[test]
fn the_dot_of_a_vlan_s_name_stays_in_the_name() {
    let set = |name: &str| {
        Op::Quiet(ArpChange {
            dev: dev(name),
            which: Arp::Announce,
            from: 0,
            to: 2,
        })
    };
    assert_eq!(
        set("eth0").to_string(),
        "sysctl -w net.ipv4.conf.eth0.arp_announce=2"
    );
    assert_eq!(
        set("eth0.5").to_string(),
        "sysctl -w net/ipv4/conf/eth0.5/arp_announce=2"
    );
}

/// By another port or another way of forwarding.
#[test]
fn what_others_added_to_our_service_is_deleted_or_made_ours() {
    let ledger = plan(&holder(), &Observed::default(), &Ledger::default()).ledger;
    let mut observed = in_place(holder(), ArpSettings::QUIET);
    let server = "10.77.0.12:8080".parse().unwrap();
    let foreign = &mut observed.foreign_destinations;
    foreign.insert((key(), server), Destination::direct(1));
    let expected = ["ipvsadm -d -t 10.77.0.100:80 -r 10.77.0.12:8080"];
    assert_eq!(lines(&plan(&holder(), &observed, &ledger)), expected);
    let nothing = Ledger::default();
    assert!(plan(&holder(), &observed, &nothing).ops.is_empty());

    observed.foreign_destinations.clear();
    let expected = ["ipvsadm -e -t 10.77.0.100:80 -r 10.77.0.11:80 -g -w 1"];
    for forward in [Forward::Local, Forward::Masquerade, Forward::Tunnel] {
        let service = observed.net.services.get_mut(&key()).unwrap();
        let ours = service.destinations.get_mut(&ip("10.77.0.11")).unwrap();
        ours.forward = forward;
        assert_eq!(lines(&plan(&holder(), &observed, &ledger)), expected);
    }
}

#[test]
fn settings_of_ipvs_are_set_kept_and_given_back() {
    let setting = IpvsSetting::ScheduleIcmp;
    let mut observed = Observed::default();
    observed.net.ipvs.insert(setting, 0);
    let wanted = NodeNet {
        ipvs: [(setting, 1)].into(),
        ..NodeNet::default()
    };

    let first = plan(&wanted, &observed, &Ledger::default());
    assert_eq!(lines(&first), ["sysctl -w net.ipv4.vs.schedule_icmp=1"]);
    observed.net.ipvs.insert(setting, 1);
    let second = plan(&wanted, &observed, &first.ledger);
    assert_eq!((lines(&second).len(), &second.ledger), (0, &first.ledger));
    let last = plan(&NodeNet::default(), &observed, &second.ledger);
    assert_eq!(lines(&last), ["sysctl -w net.ipv4.vs.schedule_icmp=0"]);
    assert_eq!(last.ops[0].phase(), Phase::Restore);
    assert_eq!(last.ledger, first.ledger, "known until it is done");
    observed.net.ipvs.insert(setting, 0);
    let after = plan(&NodeNet::default(), &observed, &last.ledger);
    assert_eq!((lines(&after).len(), after.ledger), (0, Ledger::default()));
}

#[test]
fn a_setting_of_ipvs_that_somebody_changed_since_is_theirs() {
    let setting = IpvsSetting::SloppyTcp;
    let ledger = Ledger {
        ipvs: [(setting, SettingChange { before: 0, set: 1 })].into(),
        ..Ledger::default()
    };
    let mut observed = Observed::default();
    observed.net.ipvs.insert(setting, 2);
    let plan = plan(&NodeNet::default(), &observed, &ledger);
    assert_eq!((plan.ops.len(), plan.ledger), (0, Ledger::default()));
}

#[test]
fn a_setting_that_is_as_wanted_already_is_not_ours() {
    let setting = IpvsSetting::SloppyTcp;
    let mut observed = Observed::default();
    observed.net.ipvs.insert(setting, 1);
    let plan = plan(&observed.net.clone(), &observed, &Ledger::default());
    assert_eq!((plan.ops.len(), plan.ledger), (0, Ledger::default()));
}

#[test]
fn a_setting_of_ipvs_that_is_wanted_as_it_was_is_forgotten_with_the_wish() {
    let setting = IpvsSetting::SloppyTcp;
    let change = SettingChange { before: 0, set: 1 };
    let ledger = Ledger {
        ipvs: [(setting, change)].into(),
        ..Ledger::default()
    };
    let mut observed = Observed::default();
    observed.net.ipvs.insert(setting, 1);
    let mut wanted = NodeNet::default();
    wanted.ipvs.insert(setting, 0);
    let back = plan(&wanted, &observed, &ledger);
    assert_eq!(lines(&back), ["sysctl -w net.ipv4.vs.sloppy_tcp=0"]);
    observed.net.ipvs.insert(setting, 0);
    let after = plan(&NodeNet::default(), &observed, &back.ledger);
    assert_eq!((after.ops.len(), after.ledger), (0, Ledger::default()));
}

fn exchanging(id: u32) -> NodeNet {
    let daemon = SyncDaemon {
        dev: dev("eth0"),
        id,
    };
    NodeNet {
        sync: SyncHalf::ALL.map(|half| (half, daemon.clone())).into(),
        ..NodeNet::default()
    }
}

fn running(id: u32) -> Observed {
    Observed {
        net: exchanging(id),
        ..Observed::default()
    }
}

#[test]
fn daemons_are_started_changed_and_stopped() {
    let first = plan(&exchanging(1), &Observed::default(), &Ledger::default());
    assert_eq!(
        lines(&first),
        [
            "ipvsadm --start-daemon master --mcast-interface eth0 --syncid 1",
            "ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 1",
        ]
    );
    let settled = plan(&exchanging(1), &running(1), &first.ledger);
    assert_eq!((settled.ops.len(), &settled.ledger), (0, &first.ledger));
    let changed = plan(&exchanging(2), &running(1), &settled.ledger);
    assert_eq!(
        lines(&changed),
        [
            "ipvsadm --stop-daemon master",
            "ipvsadm --stop-daemon backup",
            "ipvsadm --start-daemon master --mcast-interface eth0 --syncid 2",
            "ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 2",
        ]
    );
    // Wherever the agent was killed in that plan, the ledger shows that the running daemons are ours.
    for id in [1, 2] {
        let last = plan(&NodeNet::default(), &running(id), &changed.ledger);
        let stop = [
            "ipvsadm --stop-daemon master",
            "ipvsadm --stop-daemon backup",
        ];
        assert_eq!(lines(&last), stop);
    }
    let after = plan(&NodeNet::default(), &Observed::default(), &changed.ledger);
    assert_eq!((after.ops.len(), after.ledger), (0, Ledger::default()));
}

#[test]
fn somebody_elses_daemon_is_left_alone() {
    for wanted in [exchanging(1), exchanging(2), NodeNet::default()] {
        let plan = plan(&wanted, &running(1), &Ledger::default());
        assert_eq!((plan.ops.len(), plan.ledger), (0, Ledger::default()));
    }
}

/// As after an interrupted restart, too: the ledger still names the interface that is gone.
#[test]
fn daemons_leave_an_interface_that_is_gone_for_the_one_with_its_name() {
    let quiet = ArpSettings::default();
    let here = |index| {
        let mut observed = observed(quiet);
        observed.links.get_mut("eth0").unwrap().index = index;
        observed.net = exchanging(1);
        observed
    };
    let started = plan(&exchanging(1), &observed(quiet), &Ledger::default()).ledger;
    let known = plan(&exchanging(1), &here(2), &started);
    assert!(known.ops.is_empty());
    let mut gone = here(2);
    gone.links.clear();
    assert!(plan(&exchanging(1), &gone, &known.ledger).ops.is_empty());
    let again = plan(&exchanging(1), &here(3), &known.ledger);
    let expected = [
        "ipvsadm --stop-daemon master",
        "ipvsadm --stop-daemon backup",
        "ipvsadm --start-daemon master --mcast-interface eth0 --syncid 1",
        "ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 1",
    ];
    assert_eq!(lines(&again), expected);
    assert_eq!(
        lines(&plan(&exchanging(1), &here(3), &again.ledger)),
        expected
    );
    let mut ledger = again.ledger;
    for (half, daemon) in exchanging(1).sync {
        ledger.started(half, &daemon, &here(3));
    }
    assert!(plan(&exchanging(1), &here(3), &ledger).ops.is_empty());
}

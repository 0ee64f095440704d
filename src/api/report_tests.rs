use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::{NodeStateStatus, Report, ReportedNic, Undoing, node_state::DirectingEntry};
use crate::model::{
    ArpSettings, Conflict, Directing, Drain, IpRanges, Move, PeerState, Preflight, PreflightCheck,
    Reason, Refusal, ReservedAs, TakeCause, VipDevices, VsKey,
};

fn v4(net: u8, host: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(
        u32::from(net) << 24 | u32::try_from(host).unwrap(),
    ))
}

fn vips(count: usize) -> IpRanges {
    (1..=count).map(|host| v4(10, host)).collect()
}

fn report() -> Report {
    let refusal = Refusal::new(Reason::NotBound, "the agent of b has not reported it");
    Report {
        agent_version: "0.1.0".to_owned(),
        observed: "00000001".repeat(8),
        is_director: true,
        is_backend: true,
        networks: BTreeMap::from([(
            "eth0".parse().unwrap(),
            ReportedNic {
                index: 2,
                down: true,
                mac: "02:00:00:00:00:01".parse().ok(),
                subnets: BTreeSet::from(["10.0.0.0/8".parse().unwrap()]),
                addresses: BTreeSet::from([v4(10, 200)]),
                arp: ArpSettings::QUIET,
            },
        )]),
        arp_all: ArpSettings {
            ignore: 0,
            announce: 1,
        },
        vip_devices: Some(VipDevices::default()),
        peer: PeerState {
            addresses: BTreeSet::from([v4(10, 200)]),
            reserved: [
                (v4(10, 254), ReservedAs::NextHop),
                (v4(10, 255), ReservedAs::Broadcast),
            ]
            .into(),
            macs: BTreeMap::from([(v4(10, 200), "02:00:00:00:00:01".parse().unwrap())]),
            bound: vips(3),
            held: vips(2),
            incomplete: vips(1),
            directing: vec![Directing {
                vips: vips(2),
                ports: BTreeSet::from(["443/TCP".parse().unwrap()]),
                ready: [v4(11, 1), v4(11, 2), v4(11, 9)].into(),
                unready: BTreeMap::from([(v4(11, 3), refusal.clone())]),
                draining: [v4(11, 4)].into(),
            }],
            partial: false,
        },
        refused: BTreeMap::from([(VsKey::new("shop", "web"), refusal)]),
        conflicts: BTreeMap::from([(
            (v4(10, 1), "eth0".parse().unwrap()),
            Conflict {
                own: "02:00:00:00:00:01".parse().ok(),
                rivals: BTreeMap::from([
                    ("02:00:00:00:00:02".parse().unwrap(), None),
                    ("02:00:00:00:00:03".parse().unwrap(), Some("b".into())),
                ]),
            },
        )]),
        moves: vec![Move {
            at: "2026-11-25T20:00:00.5Z".parse().unwrap(),
            vips: vips(2),
            from: Some("b".to_owned()),
            cause: TakeCause::HolderDown,
            after: Duration::from_millis(281),
        }],
        drains: BTreeMap::from([(
            v4(11, 4),
            Drain {
                connections: 3,
                until: "2026-11-25T20:00:41Z".parse().unwrap(),
            },
        )]),
        warnings: BTreeMap::from([(
            Refusal::new(Reason::KubeProxyIpvs, "it deletes them"),
            vips(2),
        )]),
        preflight: vec![Preflight {
            check: PreflightCheck::Needs(Reason::IpvsMissing),
            message: "missing".to_owned(),
            fix: "load it".to_owned(),
        }],
        services: 4,
        destinations: 12,
        drift: 1,
        repairs: BTreeMap::from([(
            "bind".to_owned(),
            crate::model::Repair {
                count: 1,
                first: "2026-11-25T20:00:00Z".parse().unwrap(),
                last: "2026-11-25T20:00:07Z".parse().unwrap(),
                example: "ip addr add".to_owned(),
            },
        )]),
        undo: Some(Undoing {
            request: "2026-11-21T10:13:41Z".to_owned(),
            done: true,
        }),
        left_out: 0,
    }
}

fn bytes(status: &NodeStateStatus) -> usize {
    serde_json::to_string(status).unwrap().len()
}

#[test]
fn a_report_survives_the_api_server() {
    let text = serde_json::to_string(&report().to_status()).unwrap();
    let read: NodeStateStatus = serde_json::from_str(&text).unwrap();
    assert_eq!(Report::from_status(&read), Ok(report()));
    assert_eq!(
        Report::from_status(&NodeStateStatus::default()),
        Ok(Report::default()),
        "a node that has not reported yet is no error"
    );
}

/// 10,000 VirtualServices with ten real servers each: 100,000 destinations.
#[test]
fn ten_thousand_virtual_services_fit_into_256_kib() {
    let servers = |group: usize| {
        (1..=10)
            .map(|host| v4(11, group * 100 + host * 3))
            .collect()
    };
    let mut large = report();
    large.peer.bound = vips(10_000);
    large.peer.held = vips(10_000);
    // Fifty sets of real servers, VIPs dealt out in turn: no two consecutive VIPs share a set.
    large.peer.directing = (0..50)
        .map(|group| Directing {
            vips: (1..=10_000)
                .filter(|host| host % 50 == group)
                .map(|host| v4(10, host))
                .collect(),
            ready: servers(group),
            ..Directing::default()
        })
        .collect();
    // And every VirtualService is refused, each with a message of its own.
    large.refused = (0..10_000)
        .map(|index| {
            let message = format!(
                "10.0.{}.{}:80/TCP is there and is not directway's",
                index / 256,
                index % 256
            );
            (
                VsKey::new("shop", &format!("web-{index}")),
                Refusal::new(Reason::ForeignService, message),
            )
        })
        .collect();
    let status = large.to_status();
    let size = bytes(&status);
    assert!(size < 256 * 1024, "{size} bytes");
    let named: usize = status
        .refused
        .iter()
        .map(|entry| entry.virtual_services.len())
        .sum();
    assert_eq!(
        named as i64 + status.left_out.unwrap(),
        10_000,
        "what is left out is counted"
    );
    assert_eq!(status.summary.unwrap().refused, 10_000);

    let same = Refusal::new(Reason::IpvsMissing, "the kernel has no IPVS");
    large
        .refused
        .values_mut()
        .for_each(|refusal| *refusal = same.clone());
    let status = large.to_status();
    assert!(bytes(&status) < 256 * 1024, "{} bytes", bytes(&status));
    assert_eq!(status.refused.len(), 1);
}

/// A NodeState of a few kilobytes can claim billions of addresses.
#[test]
fn a_range_takes_the_memory_of_its_ends() {
    let all = || vec!["0.0.0.0-255.255.255.255".to_owned()];
    let entry = DirectingEntry {
        vips: all(),
        ready: all(),
        draining: all(),
        ..DirectingEntry::default()
    };
    let status = NodeStateStatus {
        bound: all(),
        held: all(),
        directing: vec![entry; 1000],
        ..NodeStateStatus::default()
    };
    let peer = Report::from_status(&status).unwrap().peer;
    assert_eq!(peer.directing.len(), 1000);
    assert_eq!(peer.directing[999].ready.len(), 1 << 32);
    assert!(peer.may_direct(v4(10, 1), v4(11, 1)));
}

/// 100 VirtualServices with 128 external hosts each, none of which answers.
#[test]
fn thousands_of_silent_real_servers_do_not_keep_a_report_from_being_written() {
    let mut large = report();
    large.peer.held = vips(100);
    let silent = |group: usize| {
        let address = move |host: usize| v4(11, group * 1000 + host * 2);
        (0..128).map(address).map(|address| {
            let message = format!("{address} does not answer ARP on eth0: is the host up?");
            (address, Refusal::new(Reason::Unreachable, message))
        })
    };
    large.peer.directing = (0..100)
        .map(|group| Directing {
            vips: [v4(10, group + 1)].into(),
            unready: silent(group).collect(),
            ..Directing::default()
        })
        .collect();
    let status = large.to_status();
    assert!(bytes(&status) < 256 * 1024, "{} bytes", bytes(&status));
    let spelt: usize = status.directing.iter().map(|it| it.unready.len()).sum();
    assert_eq!(spelt as i64 + status.left_out.unwrap(), 12_800);
    assert!(spelt > 100, "{spelt} are explained");
    assert!(!status.refused.is_empty() && !status.conflicts.is_empty());
    let read = Report::from_status(&status).unwrap();
    assert_eq!(read.peer.held, vips(100));
    assert!(!read.peer.partial, "all destinations are named");
}

/// Drains leave room for the reasons of everything else.
#[test]
fn drains_take_a_part_of_a_report_at_most() {
    let mut large = report();
    let drain = large.drains[&v4(11, 4)];
    large.drains = (1..=10_000).map(|host| (v4(11, host), drain)).collect();
    let status = large.to_status();
    assert!(bytes(&status) < 32 * 1024, "{} bytes", bytes(&status));
    assert!(status.drains.len() > 100, "{}", status.drains.len());
    let told = status.drains.len() as i64 + status.left_out.unwrap();
    assert_eq!(told, 10_000);
    assert!(!status.refused.is_empty());
}

/// What does not fit is not taken for what is not there.
#[test]
fn ranges_that_do_not_fit_are_counted_and_reported() {
    let scattered: IpRanges = (1..=60_000).map(|host| v4(10, host * 2)).collect();
    let mut large = report();
    large.peer.bound = scattered.clone();
    large.peer.held = scattered.clone();
    large.peer.incomplete = scattered.clone();
    let group = |host: IpAddr| Directing {
        vips: [host].into(),
        ready: [host].into(),
        ..Directing::default()
    };
    large.peer.directing = scattered.iter().map(group).collect();
    let status = large.to_status();
    assert!(bytes(&status) < 1024 * 1024, "{} bytes", bytes(&status));
    assert_eq!(status.preflight[0].check, "ReportSize");
    let kept = status.held.len() + status.bound.len() + status.directing.len();
    let kept = kept + status.incomplete.len();
    assert_eq!(kept as i64 + status.left_out.unwrap(), 240_000);
    let peer = Report::from_status(&status).unwrap().peer;
    assert!(peer.partial);
    let (last, other) = (v4(10, 120_000), v4(11, 1));
    assert!(!peer.stands_by(last, false), "nobody knows that it could");
    assert!(
        peer.may_direct(last, other),
        "nobody knows that it does not"
    );
}

#[test]
fn a_text_is_cut_to_what_the_schema_allows() {
    let mut long = report();
    long.preflight[0].message = "é".repeat(5000);
    let status = long.to_status();
    assert_eq!(status.preflight[0].message.chars().count(), 1024);
    assert!(status.preflight[0].message.ends_with('…'));
}

#[test]
fn garbage_is_an_error_that_names_its_field() {
    let garble = |change: fn(&mut NodeStateStatus)| {
        let mut status = report().to_status();
        change(&mut status);
        Report::from_status(&status).unwrap_err().to_string()
    };
    let errors = [
        garble(|status| status.bound.push("10.0.0.0/8".to_owned())),
        garble(|status| status.directing[0].ready.push("::-10.0.0.1".to_owned())),
        garble(|status| status.directing_left_out = Some(-1)),
        garble(|status| status.refused[0].virtual_services.push("web".to_owned())),
        garble(|status| status.conflicts[0].rivals[0].mac = "me".to_owned()),
        garble(|status| status.warnings[0].vips.push("all".to_owned())),
        garble(|status| status.drains[0].connections = -1),
        garble(|status| status.drains[0].until = "soon".to_owned()),
        garble(|status| status.drains[0].address = "10.0.0.0/8".to_owned()),
        garble(|status| status.services = -1),
        garble(|status| {
            let names = (0..20_000).map(|number| format!("shop/web-{number}"));
            status.refused[0].virtual_services = names.collect();
        }),
    ];
    for (error, field) in errors.iter().zip([
        "bound",
        "directing",
        "directingLeftOut",
        "refused",
        "conflicts",
        "warnings",
        "drains",
        "drains",
        "drains",
        "services",
        "refused",
    ]) {
        assert!(error.starts_with(&format!("status.{field}: ")), "{error}");
    }
}

#[test]
fn a_reason_of_a_newer_version_is_kept_as_text() {
    let mut status = report().to_status();
    status.directing[0].unready[0].reason = "MoonPhase".to_owned();
    let read = Report::from_status(&status).unwrap();
    let refusal = &read.peer.directing[0].unready[&v4(11, 3)];
    assert!(refusal.message.starts_with("MoonPhase: "), "{refusal}");
    status.preflight[0].check = "MoonPhase".to_owned();
    status.moves[0].cause = "full-moon".to_owned();
    let read = Report::from_status(&status).unwrap();
    let expected = PreflightCheck::Other("MoonPhase".to_owned());
    assert_eq!(read.preflight[0].check, expected);
    assert_eq!(read.to_status().preflight, status.preflight);
    assert_eq!(
        read.moves,
        [],
        "a move is for people: one that cannot be told is none"
    );
}

proptest! {
    #[test]
    fn no_status_makes_the_reader_panic(texts in prop::collection::vec(".{0,20}", 0..6)) {
        let status = NodeStateStatus { bound: texts.clone(), observed: texts.concat(), ..NodeStateStatus::default() };
        let _ = Report::from_status(&status);
    }
}

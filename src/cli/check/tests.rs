use std::{collections::BTreeMap, net::IpAddr};

use super::{
    facts::{Facts, Location, Module, Vip},
    finding::{CheckResult, Level},
    findings::findings,
};
use crate::model::*;

fn nic(index: u32, name: &str, network: &str) -> Link {
    Link {
        index,
        dev: name.parse().unwrap(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        kind: LinkKind::Other,
        up: true,
        carrier: true,
        arp_capable: true,
        enslaved: false,
        addresses: vec![network.parse().unwrap()],
        arp: ArpSettings::default(),
    }
}

fn vip(address: &str, answer: Option<Answer>) -> BTreeMap<IpAddr, Vip> {
    let vip = Vip {
        named: None,
        answer,
    };
    [(address.parse().unwrap(), vip)].into()
}

fn good() -> Facts {
    let link = nic(2, "eth0", "10.0.0.1/24");
    Facts {
        release: "6.1.0-18-amd64".to_owned(),
        capabilities: 0x3000,
        observed: Ok(Observed {
            links: [(link.dev.clone(), link)].into(),
            ..Observed::default()
        }),
        sysctls: [
            ("backup_only", "0\n"),
            ("expire_nodest_conn", "1\n"),
            ("sloppy_tcp", "1\n"),
        ]
        .map(|(name, value)| (format!("net.ipv4.vs.{name}"), value.to_owned()))
        .into(),
        wanted_schedulers: ["mh".to_owned()].into(),
        schedulers: [("mh".to_owned(), Module::Loaded)].into(),
        vips: vip("10.0.0.100", Some(Answer::default())),
        run_dir: Ok(()),
        proc_sys_writable: false,
        location: None,
        kube_proxy: ProxyAnswer::Silence,
        network_managers: vec![],
    }
}

fn observed(facts: &mut Facts) -> &mut Observed {
    facts.observed.as_mut().unwrap()
}

/// The findings that are not PASS after a change to a node where all is well.
fn complaints(change: impl FnOnce(&mut Facts)) -> Vec<(Level, &'static str)> {
    let mut facts = good();
    change(&mut facts);
    let findings = findings(&facts);
    for finding in &findings {
        let CheckResult { level, fix, .. } = finding;
        assert_eq!(
            *level == Level::Pass,
            fix.is_empty(),
            "every complaint has a fix: {finding:?}"
        );
    }
    findings
        .into_iter()
        .filter(|finding| finding.level != Level::Pass)
        .map(|finding| (finding.level, finding.check))
        .collect()
}

#[test]
fn a_good_node_passes() {
    assert_eq!(complaints(|_| ()), []);
}

#[test]
fn a_machine_that_is_no_node_is_named() {
    let on = |node: Option<&str>| {
        complaints(|f| {
            f.location = Some(Location {
                machine: "laptop".to_owned(),
                node: node.map(Into::into),
            });
        })
    };
    assert_eq!(on(Some("a")), []);
    assert_eq!(on(None), [(Level::Warn, "node")]);
}

#[test]
fn what_cannot_work_fails() {
    use Level::Fail;
    assert_eq!(
        complaints(|f| f.capabilities = 0x1000),
        [(Fail, "capabilities")]
    );
    assert_eq!(
        complaints(|f| f.observed = Err("no".to_owned())),
        [(Fail, "kernel")]
    );
    assert_eq!(
        complaints(|f| observed(f).ipvs = Ipvs::Missing("no".to_owned())),
        [(Fail, "ipvs")]
    );
    assert_eq!(
        complaints(|f| f.schedulers = [("mh".to_owned(), Module::Absent)].into()),
        [(Fail, "schedulers")]
    );
    assert_eq!(
        complaints(|f| observed(f).arp_all.ignore = 3),
        [(Fail, "arp")]
    );
    assert_eq!(
        complaints(|f| f.vips = vip("10.0.0.1", Some(Answer::default()))),
        [(Fail, "interface")]
    );
    assert_eq!(
        complaints(|f| observed(f)
            .links
            .values_mut()
            .for_each(|l| l.carrier = false)),
        [(Fail, "interface")]
    );
    assert_eq!(
        complaints(|f| f.run_dir = Err("ro".to_owned())),
        [(Fail, "run_dir")]
    );
}

#[test]
fn traps_warn() {
    use Level::Warn;
    for release in ["5.10.0-28-amd64", "5.17.3", "4.19"] {
        assert_eq!(
            complaints(|f| f.release = release.to_owned()),
            [(Warn, "kernel")],
            "{release}"
        );
    }
    for release in ["5.18.0", "5.18-rc1", "6.1", "10.0.1"] {
        assert_eq!(
            complaints(|f| f.release = release.to_owned()),
            [],
            "{release}"
        );
    }
    for (name, value) in [
        ("backup_only", "1\n"),
        ("conntrack", "1\n"),
        ("expire_nodest_conn", "0\n"),
        ("sloppy_tcp", "0\n"),
    ] {
        let name = format!("net.ipv4.vs.{name}");
        let set = |f: &mut Facts| f.sysctls.extend([(name, value.to_owned())]);
        assert_eq!(complaints(set), [(Warn, "ipvs_sysctls")]);
    }
    assert_eq!(
        complaints(|f| f.schedulers = [("mh".to_owned(), Module::Unknown)].into()),
        [(Warn, "schedulers")]
    );
    assert_eq!(
        complaints(|f| f.schedulers.extend([("sed".to_owned(), Module::Absent)])),
        [(Warn, "schedulers")],
        "nobody asks for it"
    );
    assert_eq!(
        complaints(|f| f.network_managers = vec!["NetworkManager"]),
        [(Warn, "network_managers")]
    );
    let stranger = Answer {
        macs: [Mac([2, 0, 0, 0, 0, 9])].into(),
    };
    assert_eq!(
        complaints(|f| f.vips = vip("10.0.0.100", Some(stranger))),
        [(Warn, "holder")]
    );
    assert_eq!(
        complaints(|f| f.vips = vip("10.9.0.100", None)),
        [(Warn, "interface"), (Warn, "holder")]
    );
    let on = |f: &mut Facts, dev: &str| {
        f.vips = vip("10.9.0.100", Some(Answer::default()));
        f.vips
            .values_mut()
            .for_each(|vip| vip.named = dev.parse().ok());
    };
    assert_eq!(
        complaints(|f| on(f, "eth0")),
        [],
        "the VIP may be of any network"
    );
    assert_eq!(complaints(|f| on(f, "eth9")), [(Warn, "interface")]);
}

#[test]
fn strict_rp_filter_matters_with_several_interfaces() {
    let strict = |f: &mut Facts| {
        let name = "net.ipv4.conf.all.rp_filter".to_owned();
        f.sysctls.insert(name, "1".to_owned());
    };
    assert_eq!(complaints(strict), []);
    let second = |f: &mut Facts| {
        let link = nic(3, "eth1", "10.1.0.1/24");
        observed(f).links.insert(link.dev.clone(), link);
    };
    assert_eq!(
        complaints(|f| {
            strict(f);
            second(f);
        }),
        [(Level::Warn, "rp_filter")]
    );
    assert_eq!(
        complaints(|f| {
            strict(f);
            second(f);
            for dev in ["eth0", "eth1"] {
                let name = format!("net.ipv4.conf.{dev}.rp_filter");
                f.sysctls.insert(name, "2".to_owned());
            }
        }),
        [],
        "loose wins: the greater one counts"
    );
}

#[test]
fn kube_proxy_in_ipvs_mode_must_exclude_the_vips() {
    let bridge = |f: &mut Facts| {
        let mut link = nic(9, "kube-ipvs0", "10.96.0.1/32");
        link.kind = LinkKind::Dummy;
        link.addresses = vec![];
        observed(f).links.insert(link.dev.clone(), link);
    };
    let excluding = |cidrs: &[&str]| {
        ProxyAnswer::Config(KubeProxy {
            mode: "ipvs".to_owned(),
            exclude_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
        })
    };
    assert_eq!(complaints(bridge), [(Level::Warn, "kube-proxy")]);
    for (cidrs, expected) in [
        (vec![], vec![(Level::Fail, "kube-proxy")]),
        (vec!["10.9.0.0/24"], vec![(Level::Fail, "kube-proxy")]),
        (vec!["10.0.0.0/24"], vec![]),
    ] {
        assert_eq!(
            complaints(|f| f.kube_proxy = excluding(&cidrs)),
            expected,
            "{cidrs:?}"
        );
    }
    let no_vips = |f: &mut Facts, cidrs: &[&str]| {
        f.vips.clear();
        f.kube_proxy = excluding(cidrs);
    };
    assert_eq!(
        complaints(|f| no_vips(f, &[])),
        [(Level::Fail, "kube-proxy")]
    );
    assert_eq!(complaints(|f| no_vips(f, &["10.9.0.0/24"])), []);
    let iptables = ProxyAnswer::Config(KubeProxy {
        mode: "iptables".to_owned(),
        exclude_cidrs: vec![],
    });
    assert_eq!(complaints(|f| f.kube_proxy = iptables), []);
    let masquerading = |f: &mut Facts| {
        let address = "10.244.0.5".parse().unwrap();
        let destination = Destination {
            weight: 1,
            forward: Forward::Masquerade,
        };
        let service = Service {
            scheduler: Scheduler::Rr,
            flags: vec![],
            persistence: None,
            destinations: BTreeMap::from([(address, destination)]),
        };
        let key = ServiceKey {
            vip: "10.96.0.1".parse().unwrap(),
            port: 443,
            protocol: Protocol::Tcp,
        };
        observed(f).net.services.insert(key, service);
    };
    assert_eq!(complaints(masquerading), [(Level::Warn, "kube-proxy")]);
}

#[test]
fn addresses_that_fall_silent_when_the_node_is_quiet_are_named() {
    let other = |facts: &mut Facts| {
        let link = nic(3, "eth1", "10.0.0.2/24");
        observed(facts).links.insert(link.dev.clone(), link);
    };
    assert!(complaints(other).contains(&(Level::Warn, "silenced")));
    let mut facts = good();
    let lo = AddressKey::new(Dev::lo(), "10.0.0.50".parse().unwrap());
    let vip = AddressKey::new(Dev::lo(), "10.0.0.100".parse().unwrap());
    for key in [lo, vip] {
        observed(&mut facts).net.addresses.insert(key, Role::Quiet);
    }
    let found = findings(&facts);
    let found = found.iter().find(|it| it.check == "silenced").unwrap();
    assert_eq!(
        found.found,
        "10.0.0.50 is on lo, and a quiet eth0 does not answer for it"
    );
}

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tempfile::TempDir;

use super::*;
use crate::{
    forecast::apply,
    kernel::{KernelError, OpError, RefusalKind},
    model::*,
};

/// A kernel that refuses ops whose line contains `refuses`.
struct Stubborn {
    observed: Observed,
    refuses: &'static str,
}

impl Kernel for Stubborn {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        Ok(self.observed.clone())
    }

    fn apply(&mut self, ops: &[Op]) -> Vec<Result<(), OpError>> {
        let results = ops.iter().map(|op| {
            if !self.refuses.is_empty() && op.to_string().contains(self.refuses) {
                return Err(OpError::Refused {
                    kind: RefusalKind::Other,
                    errno: 16,
                    message: format!("{op}: busy"),
                });
            }
            apply(op, &mut self.observed);
            Ok(())
        });
        results.collect()
    }

    fn resolve(&mut self, _: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, Result<Reach, KernelError>> {
        BTreeMap::new()
    }

    fn probe(
        &mut self,
        _: &BTreeSet<AddressKey>,
    ) -> BTreeMap<AddressKey, Result<Answer, KernelError>> {
        BTreeMap::new()
    }
}

/// A run directory of its own, gone at the end.
struct Scratch(TempDir);

impl Scratch {
    fn args(&self) -> RunDirArgs {
        RunDirArgs {
            run_dir: self.0.path().to_owned(),
        }
    }
}

/// A node with two VIPs of ours on lo, a foreign one, and a quiet NIC; with the ledger that belongs to it.
fn node() -> (Scratch, Observed) {
    let scratch = Scratch(TempDir::new().unwrap());
    let eth0: Dev = "eth0".parse().unwrap();
    let link = Link {
        index: 2,
        dev: eth0.clone(),
        mac: None,
        kind: LinkKind::Other,
        up: true,
        carrier: true,
        arp_capable: true,
        enslaved: false,
        addresses: vec!["10.0.0.1/24".parse().unwrap()],
        arp: ArpSettings {
            ignore: 1,
            announce: 0,
        },
    };
    let mut observed = Observed {
        links: [(eth0.clone(), link)].into(),
        ..Observed::default()
    };
    let mut ledger = Ledger::default();
    let change = SettingChange { before: 0, set: 1 };
    ledger.arp.insert((eth0, Arp::Ignore), change);
    for (ip, tag) in [
        ("10.0.0.100", ForeignTag::Ours),
        ("10.0.0.101", ForeignTag::Untagged),
        ("10.0.0.7", ForeignTag::Theirs(3)),
    ] {
        let key = AddressKey::new(Dev::lo(), ip.parse().unwrap());
        let valid_seconds = None;
        observed.net.addresses.insert(key.clone(), Role::Quiet);
        observed
            .addresses
            .insert(key.clone(), ObservedAddress { tag, valid_seconds });
        if tag == ForeignTag::Untagged {
            ledger.addresses.insert(key);
        }
    }
    LedgerFile::in_dir(scratch.0.path()).save(&ledger).unwrap();
    (scratch, observed)
}

fn carried(kernel: &Stubborn) -> Vec<String> {
    let addresses = kernel.observed.net.addresses.keys();
    addresses.map(|key| key.ip.to_string()).collect()
}

#[test]
fn what_is_ours_goes_and_nothing_is_left_to_know() {
    let (scratch, observed) = node();
    let mut kernel = Stubborn {
        observed,
        refuses: "",
    };
    let report = clean(&scratch.args(), &mut kernel).unwrap();
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(
        text(&report),
        "ip addr del 10.0.0.100/32 dev lo\nip addr del 10.0.0.101/32 dev lo\nsysctl -w net.ipv4.conf.eth0.arp_ignore=0\n"
    );
    assert_eq!(carried(&kernel), ["10.0.0.7"]);
    assert!(
        !scratch.0.path().exists(),
        "the run directory is left behind"
    );
    let again = clean(&scratch.args(), &mut kernel).unwrap();
    assert_eq!(text(&again), "nothing of directway's is on this node\n");
    assert!(again.errors.is_empty());
}

#[test]
fn what_cannot_be_removed_stays_known_and_the_rest_goes() {
    let (scratch, observed) = node();
    let mut kernel = Stubborn {
        observed,
        refuses: "10.0.0.100",
    };
    let report = clean(&scratch.args(), &mut kernel).unwrap();
    assert_eq!(report.errors.len(), 1, "{:?}", report.errors);
    assert!(report.errors[0].contains("10.0.0.100") && report.errors[0].contains("busy"));
    assert_eq!(carried(&kernel), ["10.0.0.7", "10.0.0.100"]);
    let quiet = |kernel: &Stubborn| {
        kernel
            .observed
            .links
            .values()
            .all(|link| link.arp.ignore == 1)
    };
    assert!(
        quiet(&kernel),
        "a node that still carries a VIP must stay quiet"
    );
    assert!(
        text(&report).contains("arp_ignore=0    # skipped"),
        "{}",
        text(&report)
    );
    kernel.refuses = "";
    let report = clean(&scratch.args(), &mut kernel).unwrap();
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(carried(&kernel), ["10.0.0.7"]);
    assert!(!quiet(&kernel) && !scratch.0.path().exists());
}

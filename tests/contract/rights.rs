//! The rights of the chart's agent pod are enough: two capabilities, and /proc/sys read-only. Without them, the error
//! names what is missing.

use std::{collections::BTreeSet, process::Command};

use directway::{
    kernel::{
        Kernel, OpError, RefusalKind, SegmentNic,
        linux::{Linux, LinuxNic},
    },
    model::{Arp, ArpSettings, Role, Scheduler},
    plan::{ArpChange, Op},
    wire::Message,
};

use crate::{
    linux,
    world::{NODE, PEER, PEER_MAC, TAKEN, VIP, add_destination, http, ip, on, quiet, service},
};

/// Set for the process that has lost its rights.
const MARK: &str = "DIRECTWAY_CONTRACT_RIGHTS";

#[test]
#[ignore = "needs a kernel whose network may be changed: a node of the lab"]
fn two_capabilities_and_a_readonly_proc_sys_are_enough() {
    run_with(
        "-all,+net_admin,+net_raw",
        "rights::two_capabilities_and_a_readonly_proc_sys_are_enough",
        everything_works,
    );
}

#[test]
#[ignore = "needs a kernel whose network may be changed: a node of the lab"]
fn without_rights_the_refusal_says_which_are_missing() {
    run_with(
        "-all",
        "rights::without_rights_the_refusal_says_which_are_missing",
        nothing_works,
    );
}

/// Runs `body` in a process that is root with these capabilities only, in a fresh node: the calling test once more.
fn run_with(capabilities: &str, test: &str, body: fn()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let _world = linux::world();
    let script = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && \
                  exec setpriv --bounding-set \"$1\" \"$2\" --ignored --exact \"$3\" --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", script, "sh", capabilities])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn everything_works() {
    assert!(
        std::fs::write("/proc/sys/net/ipv4/conf/eth0/arp_ignore", "1").is_err(),
        "/proc/sys is read-only"
    );
    let eth0 = || "eth0".parse().unwrap();
    let mut kernel = Linux::open().unwrap();
    for op in [
        Op::Quiet(ArpChange {
            dev: eth0(),
            which: Arp::Ignore,
            from: 0,
            to: 1,
        }),
        Op::Quiet(ArpChange {
            dev: eth0(),
            which: Arp::Announce,
            from: 0,
            to: 2,
        }),
        Op::AddDummy("vip0".parse().unwrap()),
        quiet("vip0", VIP),
        Op::AddRoute(on("lo", VIP)),
        Op::AddService(http(VIP), service(Scheduler::Mh).into()),
        add_destination(http(VIP), PEER, 1),
        Op::AddAddress(on("eth0", VIP), Role::Held),
    ] {
        assert_eq!(kernel.apply(std::slice::from_ref(&op)), [Ok(())], "{op}");
    }
    let mut nic = LinuxNic::open(&eth0(), ip(NODE)).unwrap();
    nic.send(ip(NODE), &Message::Announce(ip(VIP))).unwrap();
    let observed = kernel.observe().unwrap();
    assert_eq!(observed.net.arp["eth0"], ArpSettings::QUIET);
    assert_eq!(observed.net.services[&http(VIP)].destinations.len(), 1);
    let taken = BTreeSet::from([on("eth0", TAKEN)]);
    let answer = kernel.probe(&taken).remove(&on("eth0", TAKEN)).unwrap();
    assert_eq!(answer.unwrap().macs, BTreeSet::from([PEER_MAC]));
}

fn nothing_works() {
    let mut kernel = Linux::open().unwrap();
    for op in [
        quiet("lo", VIP),
        Op::AddService(http(VIP), service(Scheduler::Rr).into()),
    ] {
        let results = kernel.apply(std::slice::from_ref(&op));
        let [
            Err(OpError::Refused {
                kind: RefusalKind::NotPermitted,
                message,
                ..
            }),
        ] = results.as_slice()
        else {
            panic!("{op}: {results:?}")
        };
        assert!(message.contains("CAP_NET_ADMIN"), "{message}");
    }
    let error = LinuxNic::open(&"eth0".parse().unwrap(), ip(NODE)).unwrap_err();
    assert!(error.cause.contains("CAP_NET_RAW"), "{error}");
    let error = kernel.observe().unwrap_err();
    assert!(error.cause.contains("CAP_NET_ADMIN"), "{error}");
}

//! The real kernel as a ground: two network namespaces of this machine, joined by cables.

use std::{
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use directway::{
    kernel::{
        KernelError, SegmentNic,
        linux::{Linux, LinuxNic},
    },
    model::Dev,
};

use crate::world::{Judge, NODE, NODE_MAC, PEER, PEER_MAC, Subject, TAKEN, World};

/// A fresh node.
pub fn world() -> World {
    let ground = std::env::var("DIRECTWAY_CONTRACT");
    assert_eq!(
        ground.as_deref(),
        Ok("linux"),
        "set DIRECTWAY_CONTRACT=linux where this kernel's network may be changed"
    );
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let peer = format!(
        "contract-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    leave_the_namespace();
    run(&format!(
        "sysctl -qw net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.all.arp_announce=0 net.ipv4.conf.default.arp_ignore=0 \
             net.ipv4.conf.default.arp_announce=0
         ip link set lo up
         ip netns add {peer}
         ip -n {peer} link set lo up
         ip link add eth0 address {NODE_MAC} type veth peer name eth0 address {PEER_MAC} netns {peer}
         ip link add eth1 address 02:00:00:00:00:21 type veth peer name eth1 address 02:00:00:00:00:22 netns {peer}
         ip -n {peer} link set eth0 up
         ip -n {peer} link set eth1 up
         ip -n {peer} addr add {PEER}/24 dev eth0
         ip -n {peer} addr add {TAKEN}/32 dev eth0
         ip link set eth0 up
         ip link set eth1 up
         ip addr add {NODE}/24 dev eth0"
    ));
    let kernel = Linux::open().expect("netlink works");
    World {
        kernel: Box::new(kernel),
        judge: Some(Box::new(Shell { peer })),
    }
}

/// Moves this thread, and what it starts, into a network namespace of its own.
#[allow(unsafe_code)]
fn leave_the_namespace() {
    // SAFETY: unshare takes no pointers, and CLONE_NEWNET concerns nothing but this thread's network.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(
        result,
        0,
        "unshare: {} (are you root?)",
        std::io::Error::last_os_error()
    );
}

impl Subject for Linux {
    fn changes_sent(&self) -> Option<u64> {
        Some(self.sent().changes)
    }

    fn nic(&self, dev: &Dev) -> Result<Box<dyn SegmentNic>, KernelError> {
        let own = crate::world::ip(NODE);
        Ok(Box::new(LinuxNic::open(dev, own)?))
    }
}

struct Shell {
    peer: String,
}

impl Judge for Shell {
    fn node(&self, command: &str) -> String {
        run(command)
    }

    fn peer(&self, command: &str) -> String {
        run(&format!("ip netns exec {} sh -ec '{command}'", self.peer))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.peer));
    }
}

fn run(command: &str) -> String {
    let output = Command::new("sh")
        .args(["-ec", command])
        .output()
        .expect("sh starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

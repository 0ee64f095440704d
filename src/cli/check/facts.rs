use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::model::{Answer, Interfaces, Observed, ProxyAnswer, Scheduler};

/// The facts that the preflight judges.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// `uname -r`.
    pub release: String,
    /// Effective capabilities of this process as a bit set.
    pub capabilities: u64,
    /// What the kernel has, or why that cannot be read.
    pub observed: Result<Observed, String>,
    /// Sysctls that exist, by name, as in `net.ipv4.ip_forward`.
    pub sysctls: BTreeMap<String, String>,
    /// Whether files below /proc/sys/net can be written.
    pub proc_sys_writable: bool,
    /// Schedulers that the VirtualServices ask for.
    pub wanted_schedulers: BTreeSet<String>,
    /// Whether the kernel has each scheduler.
    pub schedulers: BTreeMap<String, Module>,
    /// VIPs to be served here.
    pub vips: BTreeMap<IpAddr, Vip>,
    /// Whether the run directory can be used.
    pub run_dir: Result<(), String>,
    /// Which node of the cluster this is; `None` if there is no cluster, or it cannot be read.
    pub location: Option<Location>,
    /// kube-proxy's own answer, else its configuration in the cluster.
    pub kube_proxy: ProxyAnswer,
    /// Programs that may remove foreign addresses.
    pub network_managers: Vec<&'static str>,
}

/// This machine, and the cluster's node that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// $NODE_NAME, or its host name.
    pub machine: String,
    /// The node's name; `None` if this machine is no node.
    pub node: Option<String>,
}

/// A VIP that is to be served here.
#[derive(Clone, Debug, Default)]
pub(super) struct Vip {
    /// The interface that its VirtualService names for directors.
    pub named: Option<Interfaces>,
    /// Who answers for it; `None` = it could not be probed.
    pub answer: Option<Answer>,
}

/// Whether a kernel module is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    /// Loaded, or part of the kernel.
    Loaded,
    /// Its file is there.
    Loadable,
    /// Neither.
    Absent,
    /// The node's modules cannot be seen from here.
    Unknown,
}

impl Facts {
    /// A sysctl as a number; `None` if it is not there.
    pub fn sysctl(&self, name: &str) -> Option<u32> {
        self.sysctls.get(name)?.trim().parse().ok()
    }
}

/// The module of a scheduler.
pub(super) fn module(scheduler: &Scheduler) -> String {
    format!("ip_vs_{scheduler}")
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::Path,
    time::Duration,
};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::{Api, api::ListParams};

use crate::{
    agent::{LedgerFile, ask_kube_proxy, parse_kube_proxy},
    cli::{
        Failure,
        kubernetes::{KubeArgs, block_on},
        node_name::NodeArgs,
        run_dir::RunDirArgs,
        snapshot::SourceArgs,
    },
    cluster::{Pace, SourceConfig, list},
    kernel::{Kernel, linux::Linux},
    model::{AddressKey, Answer, NodeName, Observed, ProxyAnswer, Scheduler},
};

use super::{
    facts::{Facts, Location, Module, Vip, module},
    location::location,
};

/// Timeout of the requests for nodes and kube-proxy's ConfigMap: they are optional, as a plain host has no cluster.
const CLUSTER: Duration = Duration::from_secs(5);

pub(super) fn gather(
    vips: &[IpAddr],
    source: Option<&SourceConfig>,
    kube: &KubeArgs,
    dir: &RunDirArgs,
) -> Result<Facts, Failure> {
    let vips = vips.iter();
    let mut vips: BTreeMap<IpAddr, Vip> = vips.map(|vip| (*vip, Vip::default())).collect();
    let mut wanted_schedulers = BTreeSet::new();
    if let Some(source) = source {
        let source = SourceArgs {
            source: source.clone(),
        };
        let snapshot = source.read(kube)?.snapshot;
        for object in snapshot.virtual_services.values().flatten() {
            let named = &object.directors.interface;
            for vip in &object.vips {
                vips.entry(*vip).or_default().named.clone_from(named);
            }
            wanted_schedulers.insert(object.scheduler.to_string());
        }
    }
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut kernel = Linux::open();
    let observed = match &mut kernel {
        Ok(kernel) => kernel.observe().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let (Ok(kernel), Ok(observed)) = (&mut kernel, &observed) {
        for (vip, answer) in probe(kernel, &vips, observed) {
            vips.entry(vip).or_default().answer = Some(answer);
        }
    }
    let location = node(kube, observed.as_ref().ok());
    Ok(Facts {
        capabilities: capabilities(),
        sysctls: sysctls(observed.as_ref().ok()),
        observed,
        proc_sys_writable: fs::OpenOptions::new()
            .write(true)
            .open("/proc/sys/net/ipv4/conf/all/arp_ignore")
            .is_ok(),
        wanted_schedulers,
        schedulers: schedulers(release.trim()),
        vips,
        run_dir: run_dir(&dir.run_dir),
        location,
        kube_proxy: kube_proxy(kube)?,
        network_managers: network_managers(),
        release: release.trim().to_owned(),
    })
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// `CapEff` of proc_pid_status(5).
fn capabilities() -> u64 {
    let status = read("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

fn sysctls(observed: Option<&Observed>) -> BTreeMap<String, String> {
    let mut names = vec![
        vec!["net", "ipv4", "ip_forward"],
        vec!["net", "ipv4", "vs", "backup_only"],
        vec!["net", "ipv4", "vs", "conntrack"],
        vec!["net", "ipv4", "vs", "expire_nodest_conn"],
        vec!["net", "ipv4", "vs", "sloppy_tcp"],
        vec!["net", "ipv4", "conf", "all", "rp_filter"],
    ];
    let links = observed
        .into_iter()
        .flat_map(|observed| observed.links.keys());
    names.extend(links.map(|dev| vec!["net", "ipv4", "conf", dev.as_str(), "rp_filter"]));
    let found = names.into_iter().filter_map(|parts| {
        // An interface's name may contain dots, so the path is joined from parts.
        let value = read(format!("/proc/sys/{}", parts.join("/")))?;
        Some((parts.join("."), value))
    });
    found.collect()
}

/// Where a node's root may be seen: here, or where `kubectl debug node/NAME` puts it.
const ROOTS: [&str; 2] = ["", "/host"];

/// Looks for the schedulers' modules without loading any.
fn schedulers(release: &str) -> BTreeMap<String, Module> {
    let list = |name: &str| {
        let dirs = ROOTS.iter().flat_map(|root| {
            [
                format!("{root}/lib/modules"),
                format!("{root}/usr/lib/modules"),
            ]
        });
        dirs.into_iter()
            .find_map(|dir| read(format!("{dir}/{release}/{name}")))
    };
    let (built_in, loadable) = (list("modules.builtin"), list("modules.dep"));
    let seen = built_in.is_some() || loadable.is_some();
    let has = |list: &Option<String>, module: &str| {
        let file = format!("/{module}.ko");
        list.as_ref().is_some_and(|list| list.contains(&file))
    };
    let state = |module: &str| {
        if Path::new("/sys/module").join(module).exists() || has(&built_in, module) {
            Module::Loaded
        } else if has(&loadable, module) {
            Module::Loadable
        } else if seen {
            Module::Absent
        } else {
            Module::Unknown
        }
    };
    let schedulers = Scheduler::ALL.iter();
    schedulers
        .map(|scheduler| (scheduler.to_string(), state(&module(scheduler))))
        .collect()
}

/// Probes the VIPs on every interface in their network, and on those that VirtualServices name.
fn probe(
    kernel: &mut Linux,
    vips: &BTreeMap<IpAddr, Vip>,
    observed: &Observed,
) -> BTreeMap<IpAddr, Answer> {
    let targets: BTreeSet<AddressKey> = vips
        .iter()
        .flat_map(|(vip, Vip { named, .. })| {
            let links = observed.links.values();
            let links = links.filter(move |link| {
                let is_named = named
                    .as_ref()
                    .and_then(|it| it.position(&link.dev))
                    .is_some();
                let may_hold = link.is_in_network_of(*vip) || is_named;
                link.hears_arp() && link.up && link.carrier && may_hold
            });
            links.map(|link| AddressKey::new(link.dev.clone(), *vip))
        })
        .collect();
    let mut answers: BTreeMap<IpAddr, Answer> = BTreeMap::new();
    // A VIP that could not be probed has no entry, and a finding reports that.
    for (key, answer) in kernel.probe(&targets) {
        if let Ok(answer) = answer {
            let macs = &mut answers.entry(key.ip).or_default().macs;
            macs.extend(answer.macs);
        }
    }
    // Answers of the node's own interfaces on the same segment do not count.
    let own: BTreeSet<_> = observed
        .links
        .values()
        .filter_map(|link| link.mac)
        .collect();
    for answer in answers.values_mut() {
        answer.macs.retain(|mac| !own.contains(mac));
    }
    answers
}

/// Whether an agent could keep its ledger there; leaves nothing behind.
fn run_dir(dir: &Path) -> Result<(), String> {
    let explain = |error: io::Error| format!("{}: {error}", dir.display());
    let made = match fs::create_dir(dir) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(explain(error)),
    };
    let file = dir.join(format!("check-{}", std::process::id()));
    let written = fs::write(&file, "").and_then(|()| fs::remove_file(&file));
    if made {
        fs::remove_dir(dir).map_err(explain)?;
    }
    written.map_err(explain)?;
    let ledger = LedgerFile::in_dir(dir).load();
    ledger.map(|_| ()).map_err(|error| error.to_string())
}

/// Which node this is; `None` if there is no cluster, or its nodes cannot be listed.
fn node(args: &KubeArgs, observed: Option<&Observed>) -> Option<Location> {
    let nodes = block_on(async {
        let look = async {
            let nodes: Api<Node> = Api::all(args.client().await.ok()?);
            list(&nodes, &ListParams::default(), Pace::CONTROLLER.page)
                .await
                .ok()
        };
        tokio::time::timeout(CLUSTER, look).await.ok()?
    });
    let NodeName(machine) = NodeArgs::default().name().ok()?;
    let links = observed?.links.values();
    let own = links.flat_map(|link| link.addresses.iter().map(IpNet::addr));
    Some(location(machine, &own.collect(), &nodes.ok()??))
}

/// The configuration that kube-proxy on this node reports, else that of kubeadm's ConfigMap if it can be read.
fn kube_proxy(args: &KubeArgs) -> Result<ProxyAnswer, Failure> {
    let answer = block_on(ask_kube_proxy())?;
    if answer != ProxyAnswer::Silence {
        return Ok(answer);
    }
    let found = block_on(async {
        let look = async {
            let client = args.client().await.ok()?;
            let maps: Api<ConfigMap> = Api::namespaced(client, "kube-system");
            maps.get_opt("kube-proxy").await.ok()?
        };
        tokio::time::timeout(CLUSTER, look).await.ok()?
    })?;
    let config = found.and_then(|map| parse_kube_proxy(map.data?.get("config.conf")?));
    Ok(config.map_or(ProxyAnswer::Silence, ProxyAnswer::Config))
}

fn network_managers() -> Vec<&'static str> {
    [
        ("NetworkManager", "/run/NetworkManager"),
        ("systemd-networkd", "/run/systemd/netif/links"),
    ]
    .into_iter()
    .filter(|(_, path)| {
        ROOTS
            .iter()
            .any(|root| Path::new(&format!("{root}{path}")).exists())
    })
    .map(|(name, _)| name)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_dir_that_was_not_there_is_not_left_behind() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("run");
        assert_eq!(run_dir(&dir), Ok(()));
        assert!(!dir.exists());
        assert!(
            run_dir(&base.path().join("a/b")).is_err(),
            "one level, as the agent"
        );
    }
}

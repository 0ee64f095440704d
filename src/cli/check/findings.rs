use std::net::IpAddr;

use crate::desired::{clients_nic, unanswered};
use crate::model::{
    ArpSettings, Dev, Forward, Interfaces, Ipvs, Link, Observed, PROXY_FIX, ProxyAnswer,
    ProxyDanger, Role, has_proxy_device,
};

use super::{
    facts::{Facts, Location, Module},
    finding::{CheckResult, Level, finding, pass},
};

const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;

/// The findings that follow from the facts.
pub(super) fn findings(facts: &Facts) -> Vec<CheckResult> {
    let mut findings: Vec<CheckResult> = facts.location.iter().map(location).collect();
    findings.extend([kernel(facts), capabilities(facts)]);
    match &facts.observed {
        Ok(observed) => {
            findings.push(ipvs(observed));
            findings.push(schedulers(facts));
            findings.push(arp_all(observed));
            findings.extend(silenced(facts, observed));
            findings.extend(
                facts
                    .vips
                    .iter()
                    .map(|(vip, of)| interface(*vip, of.named.as_ref(), observed)),
            );
            findings.extend(facts.vips.keys().filter_map(|vip| rivals(*vip, facts)));
            findings.push(rp_filter(facts, observed));
            findings.push(kube_proxy(facts, observed));
        }
        Err(error) => findings.push(finding(
            Level::Fail,
            "kernel",
            error.clone(),
            "run it as root on the node, with CAP_NET_ADMIN",
        )),
    }
    findings.push(ipvs_sysctls(facts));
    findings.push(run_dir(facts));
    findings.push(network_managers(facts));
    findings.push(proc_sys(facts));
    findings.push(ip_forward(facts));
    findings
}

/// A warning if this machine is no node, because all other findings are about this machine.
fn location(Location { machine, node }: &Location) -> CheckResult {
    match node {
        Some(node) => pass("node", node.as_str()),
        None => finding(
            Level::Warn,
            "node",
            format!("{machine} is not a node of the cluster, and all of this is about {machine}"),
            "run it in an agent's pod (kubectl exec daemonset/directway-agent -- /directway check), or on a node without one as docs/install.md says",
        ),
    }
}

/// `IFA_PROTO` came with Linux 5.18 (commit 47f0bd503210).
fn kernel(facts: &Facts) -> CheckResult {
    let mut numbers = facts.release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    match (number(), number()) {
        (Some(major), Some(minor)) if (major, minor) < (5, 18) => finding(
            Level::Warn,
            "kernel",
            format!(
                "Linux {} forgets which addresses are directway's (IFA_PROTO came with 5.18); the ledger alone knows",
                facts.release
            ),
            "keep --run-dir until the next reboot, or use a newer kernel",
        ),
        (Some(_), Some(_)) => pass("kernel", format!("Linux {}", facts.release)),
        _ => finding(
            Level::Warn,
            "kernel",
            format!("the release {:?} cannot be read", facts.release),
            "directway wants Linux 5.18 or newer",
        ),
    }
}

fn capabilities(facts: &Facts) -> CheckResult {
    let missing: Vec<&str> = [(CAP_NET_ADMIN, "NET_ADMIN"), (CAP_NET_RAW, "NET_RAW")]
        .into_iter()
        .filter(|(bit, _)| facts.capabilities & (1 << bit) == 0)
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() {
        return pass("capabilities", "NET_ADMIN and NET_RAW are effective");
    }
    finding(
        Level::Fail,
        "capabilities",
        format!("not effective: {}", missing.join(", ")),
        "run it as root; in a pod as uid 0 with these in securityContext.capabilities.add (they are effective for uid 0 only)",
    )
}

fn ipvs(observed: &Observed) -> CheckResult {
    match &observed.ipvs {
        Ipvs::Present => pass("ipvs", "available"),
        Ipvs::Missing(why) => finding(
            Level::Fail,
            "ipvs",
            why.clone(),
            "on a director: use a kernel with CONFIG_IP_VS and load ip_vs; a node that is only a real server does without",
        ),
    }
}

fn schedulers(facts: &Facts) -> CheckResult {
    let wanted = |name: &str| facts.wanted_schedulers.contains(name);
    let with = |state: Module| {
        let modules = facts.schedulers.iter();
        let names = modules.filter(move |(_, module)| **module == state);
        names.map(|(name, _)| name.as_str())
    };
    let absent: Vec<&str> = with(Module::Absent).collect();
    let needed: Vec<&str> = absent.iter().copied().filter(|name| wanted(name)).collect();
    if !needed.is_empty() {
        return finding(
            Level::Fail,
            "schedulers",
            format!(
                "a VirtualService asks for {}, which this kernel lacks",
                needed.join(" ")
            ),
            "install the kernel's full modules package, or use another spec.scheduler.name",
        );
    }
    if with(Module::Unknown).next().is_some() {
        return finding(
            Level::Warn,
            "schedulers",
            "the node's kernel modules cannot be seen from here",
            "run check on the node itself; the agent reports SchedulerMissing if one is asked for and not there",
        );
    }
    let there: Vec<&str> = with(Module::Loaded).chain(with(Module::Loadable)).collect();
    if absent.is_empty() {
        return pass("schedulers", there.join(" "));
    }
    finding(
        Level::Warn,
        "schedulers",
        format!(
            "not in this kernel: {}; there: {}",
            absent.join(" "),
            there.join(" ")
        ),
        "install the kernel's full modules package if you want to use them",
    )
}

/// Whether the node can be made quiet: the greater of conf/all and the interface's own counts.
fn arp_all(observed: &Observed) -> CheckResult {
    let all = observed.arp_all;
    let found = format!(
        "net.ipv4.conf.all.arp_ignore={} arp_announce={}",
        all.ignore, all.announce
    );
    if ArpSettings::QUIET.effective(all).is_quiet() {
        return pass("arp", found);
    }
    finding(
        Level::Fail,
        "arp",
        format!(
            "{found}: the node answers ARP for addresses of other devices, whatever its interfaces say"
        ),
        "sysctl -w net.ipv4.conf.all.arp_ignore=0 (or 1, or 2)",
    )
}

/// A warning for addresses that fall silent as soon as the node is quiet.
fn silenced(facts: &Facts, observed: &Observed) -> Option<CheckResult> {
    /// How many are spelt out.
    const SPELT_OUT: usize = 4;
    let all = unanswered(observed, |key| facts.vips.contains_key(&key.ip));
    let mut spelt: Vec<String> = all
        .iter()
        .take(SPELT_OUT)
        .map(ToString::to_string)
        .collect();
    let more = all.len().saturating_sub(SPELT_OUT);
    if more > 0 {
        spelt.push(format!("and {more} more"));
    }
    (!all.is_empty()).then(|| {
        finding(
            Level::Warn,
            "silenced",
            spelt.join("; "),
            "directway makes every NIC of a node with VIPs quiet: put these addresses on the NIC where hosts ask for them, or give the node no VIPs",
        )
    })
}

fn interface(vip: IpAddr, named: Option<&Interfaces>, observed: &Observed) -> CheckResult {
    let owned = observed.links.values().find(|link| {
        let mut addresses = link.addresses.iter();
        addresses.any(|net| net.addr() == vip)
    });
    if let Some(link) = owned {
        return finding(
            Level::Fail,
            "interface",
            format!("{vip} is this node's own address on {}", link.dev),
            "use an address that no host has",
        );
    }
    let link = match clients_nic(named, vip, observed) {
        Ok(link) => link,
        Err(refusal) => {
            return finding(
                Level::Warn,
                "interface",
                refusal.message,
                "only a director needs one: nothing to do on a real server",
            );
        }
    };
    if !link.up || !link.carrier {
        return finding(
            Level::Fail,
            "interface",
            format!(
                "{vip}: {} would carry it, but has no carrier or is down",
                link.dev
            ),
            format!("ip link set {} up, and look at its cable", link.dev),
        );
    }
    let links = observed.links.values();
    let nics = links.filter(|link| link.hears_arp() && link.is_in_network_of(vip));
    let why = match (named, nics.count()) {
        (Some(_), _) => ", as spec.directors.interface says".to_owned(),
        (None, 1) => String::new(),
        (None, count) => format!(" (of {count} in its network)"),
    };
    pass("interface", format!("{vip}: {}{why}", link.dev))
}

/// Whether another host answers for a VIP.
fn rivals(vip: IpAddr, facts: &Facts) -> Option<CheckResult> {
    let observed = facts.observed.as_ref().ok()?;
    let held = observed
        .net
        .addresses
        .iter()
        .any(|(key, role)| key.ip == vip && *role == Role::Held);
    let here = if held { " but this node" } else { "" };
    Some(match &facts.vips.get(&vip)?.answer {
        None => finding(
            Level::Warn,
            "holder",
            format!("{vip}: who answers for it could not be asked"),
            "name its VirtualService's source (--source) if spec.directors.interface is set, and run check with CAP_NET_RAW",
        ),
        Some(answer) if answer.macs.is_empty() => {
            pass("holder", format!("{vip}: nobody{here} answers for it"))
        }
        Some(answer) => {
            let macs: Vec<String> = answer.macs.iter().map(ToString::to_string).collect();
            finding(
                Level::Warn,
                "holder",
                format!("{vip} is answered by {}", macs.join(", ")),
                "fine if that is its holder; else take the address from that host, or this node will not claim it",
            )
        }
    })
}

/// Strict reverse-path filtering drops a client's packet that arrives on another interface than the answer leaves by,
/// and a director may send it to such an interface.
fn rp_filter(facts: &Facts, observed: &Observed) -> CheckResult {
    let all = facts.sysctl("net.ipv4.conf.all.rp_filter").unwrap_or(0);
    let nics: Vec<&Link> = observed
        .links
        .values()
        .filter(|link| link.hears_arp())
        .collect();
    let strict: Vec<&Dev> = nics
        .iter()
        .map(|link| &link.dev)
        .filter(|dev| {
            let own = facts.sysctl(&format!("net.ipv4.conf.{dev}.rp_filter"));
            all.max(own.unwrap_or(0)) == 1
        })
        .collect();
    match strict.first() {
        None => pass("rp_filter", "not strict on any interface"),
        Some(_) if nics.len() == 1 => pass(
            "rp_filter",
            "strict, which does no harm on a node with one interface",
        ),
        Some(first) => {
            let names: Vec<String> = strict.iter().map(|dev| (*dev).to_string()).collect();
            finding(
                Level::Warn,
                "rp_filter",
                format!(
                    "strict on {}: a request that comes in on another interface than the answer goes out on is dropped",
                    names.join(", ")
                ),
                format!(
                    "sysctl -w net.ipv4.conf.{first}.rp_filter=2 (the greater of conf/all and the interface's own counts)"
                ),
            )
        }
    }
}

/// kube-proxy in ipvs mode deletes services that are not its own (kubernetes#59507), unless they are excluded.
fn kube_proxy(facts: &Facts, observed: &Observed) -> CheckResult {
    const CHECK: &str = "kube-proxy";
    let (answer, device) = (&facts.kube_proxy, has_proxy_device(observed));
    let complain = |level, danger, about: &str| {
        let found = format!("{about}{}", answer.found(danger));
        finding(level, CHECK, found, PROXY_FIX)
    };
    let dangers = facts
        .vips
        .keys()
        .filter_map(|vip| Some((answer.danger(device, *vip, false)?, *vip)));
    if let Some((danger, vip)) = dangers.max() {
        let level = match danger {
            ProxyDanger::Possible => Level::Warn,
            ProxyDanger::Certain | ProxyDanger::Happening => Level::Fail,
        };
        return complain(level, danger, &format!("{vip}: "));
    }
    if answer.is_ipvs(device) {
        return match answer {
            ProxyAnswer::NotAsked | ProxyAnswer::Silence => {
                complain(Level::Warn, ProxyDanger::Possible, "")
            }
            ProxyAnswer::Config(config)
                if facts.vips.is_empty() && config.exclude_cidrs.is_empty() =>
            {
                complain(Level::Fail, ProxyDanger::Certain, "")
            }
            ProxyAnswer::Config(config) => pass(
                CHECK,
                format!("in ipvs mode, and leaves {} alone", config.excluded()),
            ),
        };
    }
    let masquerades = observed.net.services.values().any(|service| {
        let mut destinations = service.destinations.values();
        destinations.any(|destination| destination.forward == Forward::Masquerade)
    });
    match masquerades {
        true => finding(
            Level::Warn,
            CHECK,
            "somebody else balances with IPVS on this node",
            "make sure that they leave services alone that are not theirs",
        ),
        false => pass(CHECK, "not in ipvs mode on this node"),
    }
}

fn ipvs_sysctls(facts: &Facts) -> CheckResult {
    let on = |name: &str| facts.sysctl(name).is_some_and(|value| value != 0);
    if on("net.ipv4.vs.backup_only") {
        return finding(
            Level::Warn,
            "ipvs_sysctls",
            "net.ipv4.vs.backup_only=1: no VIP at all is balanced here while a backup sync daemon runs",
            "sysctl -w net.ipv4.vs.backup_only=0",
        );
    }
    if on("net.ipv4.vs.conntrack") {
        return finding(
            Level::Warn,
            "ipvs_sysctls",
            "net.ipv4.vs.conntrack=1: every balanced connection also takes an entry of nf_conntrack, which sees its requests only",
            "sysctl -w net.ipv4.vs.conntrack=0, unless somebody else on this node balances by masquerading",
        );
    }
    if facts.sysctl("net.ipv4.vs.backup_only").is_none() {
        return pass("ipvs_sysctls", "not there until IPVS is loaded");
    }
    if !on("net.ipv4.vs.expire_nodest_conn") {
        return finding(
            Level::Warn,
            "ipvs_sysctls",
            "net.ipv4.vs.expire_nodest_conn=0: a client that comes again from the same port within two minutes is sent to its last real server, also after that has lost its weight: it is refused, or hangs; one of UDP that keeps its port gets no answer for five minutes after its real server is gone",
            "on a director: --ipvs-setting expire_nodest_conn=1 for its agent (agent.ipvsSettings in the chart)",
        );
    }
    if !on("net.ipv4.vs.sloppy_tcp") {
        return finding(
            Level::Warn,
            "ipvs_sysctls",
            "net.ipv4.vs.sloppy_tcp=0: with several directors, connections that began at another one are refused after a failover",
            "on directors: --ipvs-setting sloppy_tcp=1 for their agents (agent.ipvsSettings in the chart), or --sync-interface (agent.connectionSync)",
        );
    }
    pass(
        "ipvs_sysctls",
        "no traps (backup_only=0, conntrack=0, expire_nodest_conn=1, sloppy_tcp=1)",
    )
}

fn run_dir(facts: &Facts) -> CheckResult {
    match &facts.run_dir {
        Ok(()) => pass("run_dir", "writable"),
        Err(error) => finding(
            Level::Fail,
            "run_dir",
            error.clone(),
            "give the agent a writable directory that outlives it with --run-dir; without a ledger it changes nothing",
        ),
    }
}

fn network_managers(facts: &Facts) -> CheckResult {
    if facts.network_managers.is_empty() {
        let seen = !facts
            .schedulers
            .values()
            .any(|module| *module == Module::Unknown);
        let text = if seen {
            "none"
        } else {
            "none seen from here, where the node's files are not"
        };
        return pass("network_managers", text);
    }
    finding(
        Level::Warn,
        "network_managers",
        format!(
            "{} may remove addresses that are not its own; the agent puts VIPs back",
            facts.network_managers.join(" and ")
        ),
        "systemd-networkd: ManageForeignRoutes=no and KeepConfiguration=yes; NetworkManager: leave the VIPs' interface unmanaged, or have it keep foreign addresses",
    )
}

fn proc_sys(facts: &Facts) -> CheckResult {
    pass(
        "proc_sys",
        if facts.proc_sys_writable {
            "writable; not needed: ARP settings go over netlink"
        } else {
            "read-only, which is fine: ARP settings go over netlink"
        },
    )
}

fn ip_forward(facts: &Facts) -> CheckResult {
    let value = facts.sysctl("net.ipv4.ip_forward").unwrap_or(0);
    pass(
        "ip_forward",
        format!("{value}; direct routing works with either"),
    )
}

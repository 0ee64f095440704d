//! A NodeState's content as plain values, written compactly and checked when read.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;

use super::node_state::{
    ConflictEntry, DirectingEntry, MoveEntry, Network, NodeArp, NodeStateStatus, NodeSummary,
    PreflightEntry, RefusedEntry, RivalEntry, UndoEntry, UnreadyEntry, WarningEntry,
};
use crate::model::{
    ArpSettings, Conflict, Dev, Directing, IpRanges, Mac, Move, NodeName, PeerState, Preflight,
    PreflightCheck, Reason, Refusal, TakeCause, VipDevices, VsKey,
};

/// How many bytes refusals, conflicts, moves and failed checks may take of the object. The rest is ranges; together
/// they stay well under 256 KiB, and etcd's limit is 1.5 MiB.
const DETAIL_BUDGET: usize = 96 * 1024;
/// No real cluster has as many real servers behind one VIP; a range that claims more is garbage.
const MAX_SERVERS: usize = 65_536;

/// What one node's agent reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The agent's version.
    pub agent_version: String,
    /// From [`super::ObservedGenerations::digest`], of the snapshot that the last pass worked from.
    pub observed: String,
    /// Whether the node may hold VIPs.
    pub is_director: bool,
    /// Whether the node hosts applications.
    pub is_backend: bool,
    /// The interfaces on which the node can answer ARP.
    pub networks: BTreeMap<Dev, ReportedNic>,
    /// `net.ipv4.conf.all.*`.
    pub arp_all: ArpSettings,
    /// Which devices may carry VIPs; `None` = not reported, as by agents of older releases.
    pub vip_devices: Option<VipDevices>,
    /// What other nodes act on.
    pub peer: PeerState,
    /// VirtualServices for which the node cannot do its part.
    pub refused: BTreeMap<VsKey, Refusal>,
    /// VIPs that other hosts answer for.
    pub conflicts: BTreeMap<(IpAddr, Dev), Conflict>,
    /// VIPs that came to the node, the newest last.
    pub moves: Vec<Move>,
    /// What endangers VIPs that are served.
    pub warnings: BTreeMap<Refusal, IpRanges>,
    /// What the node lacks.
    pub preflight: Vec<Preflight>,
    /// IPVS services programmed.
    pub services: usize,
    /// Destinations of them.
    pub destinations: usize,
    /// How often drift was found.
    pub drift: u64,
    /// How far the node is with a request to undo everything.
    pub undo: Option<Undoing>,
    /// Entries that did not fit; only when read back.
    pub left_out: u64,
}

/// A request to undo everything, as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undoing {
    /// Which request.
    pub request: String,
    /// Whether nothing of directway's is left in the node's kernel.
    pub done: bool,
}

/// An interface on which the node can answer ARP, as far as forecasts for the node need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedNic {
    /// The kernel's index: of several interfaces in a network the first one faces the clients.
    pub index: u32,
    /// Its networks, link-local ones left out.
    pub subnets: BTreeSet<IpNet>,
    /// The node's own addresses in them.
    pub addresses: BTreeSet<IpAddr>,
    /// Its own ARP settings, as they are without directway.
    pub arp: ArpSettings,
}

/// A NodeState that no agent of directway's can have written. Its content is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {cause}")]
pub struct InvalidReport {
    /// The field, as in `status.bound`.
    pub field: &'static str,
    /// What is wrong with its value.
    pub cause: String,
}

fn invalid(field: &'static str, cause: impl ToString) -> InvalidReport {
    InvalidReport {
        field,
        cause: cause.to_string(),
    }
}

impl Report {
    /// The status to write.
    pub fn to_status(&self) -> NodeStateStatus {
        let mut budget = Budget {
            bytes: DETAIL_BUDGET,
            left_out: 0,
        };
        let preflight = self.preflight.iter().map(PreflightEntry::from).collect();
        let preflight = budget.keep(preflight, |entry| {
            entry.check.len() + entry.message.len() + entry.fix.len()
        });
        let conflicts = budget.keep(self.conflict_entries(), |entry| {
            let rivals = entry.rivals.iter();
            let names = rivals.map(|rival| rival.node.as_ref().map_or(0, String::len));
            entry.interface.len() + 80 + entry.rivals.len() * 40 + names.sum::<usize>()
        });
        let moves = budget.keep(self.moves.iter().map(move_entry).collect(), |entry| {
            let vips: usize = entry.vips.iter().map(|range| range.len() + 3).sum();
            vips + entry.cause.len() + 160
        });
        let refused = budget.keep_refused(self.refused_entries());
        let roles: Vec<String> = [(self.is_director, "director"), (self.is_backend, "backend")]
            .into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, role)| role.to_owned())
            .collect();
        NodeStateStatus {
            agent_version: self.agent_version.clone(),
            observed: self.observed.clone(),
            summary: Some(NodeSummary {
                roles: roles.join(","),
                held: number(self.peer.held.len()),
                bound: number(self.peer.bound.len()),
                refused: number(self.refused.len()),
            }),
            roles,
            networks: self
                .networks
                .iter()
                .map(|(dev, nic)| Network {
                    interface: dev.to_string(),
                    index: nic.index.into(),
                    subnets: nic.subnets.iter().map(ToString::to_string).collect(),
                    addresses: nic.addresses.iter().map(ToString::to_string).collect(),
                    arp: node_arp(nic.arp),
                })
                .collect(),
            arp_all: node_arp(self.arp_all),
            vip_devices: self
                .vip_devices
                .as_ref()
                .map(VipDevices::names)
                .unwrap_or_default(),
            bound: self.peer.bound.to_strings(),
            held: self.peer.held.to_strings(),
            directing: self.peer.directing.iter().map(directing_entry).collect(),
            refused,
            conflicts,
            moves,
            warnings: self.warnings.iter().map(warning_entry).collect(),
            preflight,
            services: number(self.services),
            destinations: number(self.destinations),
            drift: number(self.drift),
            undo: self.undo.as_ref().map(|undo| UndoEntry {
                request: undo.request.clone(),
                done: undo.done,
            }),
            left_out: (budget.left_out > 0).then(|| number(budget.left_out)),
        }
    }

    fn conflict_entries(&self) -> Vec<ConflictEntry> {
        self.conflicts
            .iter()
            .map(|((vip, dev), conflict)| ConflictEntry {
                vip: vip.to_string(),
                interface: dev.to_string(),
                mac: conflict.own.map(|mac| mac.to_string()),
                rivals: conflict.rivals.iter().map(rival_entry).collect(),
            })
            .collect()
    }

    fn refused_entries(&self) -> Vec<RefusedEntry> {
        let mut by_refusal: BTreeMap<&Refusal, Vec<String>> = BTreeMap::new();
        for (key, refusal) in &self.refused {
            by_refusal.entry(refusal).or_default().push(key.to_string());
        }
        by_refusal
            .into_iter()
            .map(|(refusal, virtual_services)| RefusedEntry {
                virtual_services,
                reason: refusal.reason.name().to_owned(),
                message: refusal.message.clone(),
            })
            .collect()
    }

    /// Reads what a node wrote.
    pub fn from_status(status: &NodeStateStatus) -> Result<Self, InvalidReport> {
        let mut networks = BTreeMap::new();
        let mut addresses = BTreeSet::new();
        for network in &status.networks {
            let field = "status.networks";
            let dev: Dev = parse(field, &network.interface)?;
            let subnets = network.subnets.iter().map(|net| parse(field, net));
            let own = network.addresses.iter().map(|ip| parse(field, ip));
            let nic = ReportedNic {
                index: count(field, network.index)?,
                subnets: subnets.collect::<Result<_, _>>()?,
                addresses: own.collect::<Result<_, _>>()?,
                arp: arp_settings(field, network.arp)?,
            };
            addresses.extend(nic.addresses.iter().copied());
            networks.insert(dev, nic);
        }
        let mut refused = BTreeMap::new();
        for entry in &status.refused {
            let refusal = refusal(&entry.reason, &entry.message);
            for name in &entry.virtual_services {
                let (namespace, name) = name.split_once('/').ok_or_else(|| {
                    invalid("status.refused", format!("{name:?} is not NAMESPACE/NAME"))
                })?;
                refused.insert(VsKey::new(namespace, name), refusal.clone());
            }
        }
        let mut conflicts = BTreeMap::new();
        for entry in &status.conflicts {
            let field = "status.conflicts";
            let key = (parse(field, &entry.vip)?, parse(field, &entry.interface)?);
            let own = entry.mac.as_ref().map(|mac| parse(field, mac));
            let rivals = entry.rivals.iter().map(|rival| {
                let node = rival.node.as_deref().map(NodeName::from);
                Ok((parse(field, &rival.mac)?, node))
            });
            let conflict = Conflict {
                own: own.transpose()?,
                rivals: rivals.collect::<Result<_, _>>()?,
            };
            conflicts.insert(key, conflict);
        }
        // An upgraded agent may report causes that this program does not know: those moves are skipped.
        let moves = status.moves.iter().filter_map(|entry| {
            let cause = TakeCause::from_name(&entry.cause)?;
            Some(moved(entry, cause))
        });
        let field = "status.warnings";
        let warnings = status.warnings.iter().map(|entry| {
            let warning = refusal(&entry.reason, &entry.message);
            Ok((warning, ranges(field, &entry.vips)?))
        });
        Ok(Self {
            agent_version: status.agent_version.clone(),
            observed: status.observed.clone(),
            is_director: status.roles.iter().any(|role| role == "director"),
            is_backend: status.roles.iter().any(|role| role == "backend"),
            networks,
            arp_all: arp_settings("status.arpAll", status.arp_all)?,
            vip_devices: vip_devices(&status.vip_devices)?,
            peer: PeerState {
                addresses,
                bound: ranges("status.bound", &status.bound)?,
                held: ranges("status.held", &status.held)?,
                directing: status
                    .directing
                    .iter()
                    .map(directing)
                    .collect::<Result<_, _>>()?,
            },
            refused,
            conflicts,
            moves: moves.collect::<Result<_, _>>()?,
            warnings: warnings.collect::<Result<_, _>>()?,
            preflight: status.preflight.iter().map(preflight).collect(),
            services: count("status.services", status.services)?,
            destinations: count("status.destinations", status.destinations)?,
            drift: count("status.drift", status.drift)?,
            undo: status.undo.as_ref().map(|undo| Undoing {
                request: undo.request.clone(),
                done: undo.done,
            }),
            left_out: count("status.leftOut", status.left_out.unwrap_or(0))?,
        })
    }
}

/// How many bytes of details still fit, and how many entries did not.
struct Budget {
    bytes: usize,
    left_out: usize,
}

impl Budget {
    fn fits(&mut self, size: usize) -> bool {
        // Keys, quotes and commas of an entry.
        let size = size + 64;
        let fits = size <= self.bytes;
        if fits {
            self.bytes -= size;
        } else {
            self.left_out += 1;
        }
        fits
    }

    fn keep<T>(&mut self, entries: Vec<T>, size: impl Fn(&T) -> usize) -> Vec<T> {
        entries
            .into_iter()
            .filter(|entry| self.fits(size(entry)))
            .collect()
    }

    /// Keeps as many of an entry's objects as fit, because there may be thousands.
    fn keep_refused(&mut self, mut entries: Vec<RefusedEntry>) -> Vec<RefusedEntry> {
        entries.retain_mut(|entry| {
            if !self.fits(entry.message.len() + entry.reason.len()) {
                self.left_out += entry.virtual_services.len().saturating_sub(1);
                return false;
            }
            let before = entry.virtual_services.len();
            entry.virtual_services.retain(|name| {
                let fits = name.len() + 3 <= self.bytes;
                self.bytes -= if fits { name.len() + 3 } else { 0 };
                fits
            });
            self.left_out += before - entry.virtual_services.len();
            true
        });
        entries
    }
}

fn vip_devices(names: &[String]) -> Result<Option<VipDevices>, InvalidReport> {
    if names.is_empty() {
        return Ok(None);
    }
    let others = names.iter().filter(|name| *name != "lo");
    let others = others.map(|name| parse("status.vipDevices", name));
    Ok(Some(VipDevices(others.collect::<Result<_, _>>()?)))
}

fn node_arp(settings: ArpSettings) -> NodeArp {
    NodeArp {
        ignore: settings.ignore.into(),
        announce: settings.announce.into(),
    }
}

fn arp_settings(field: &'static str, arp: NodeArp) -> Result<ArpSettings, InvalidReport> {
    Ok(ArpSettings {
        ignore: count(field, arp.ignore)?,
        announce: count(field, arp.announce)?,
    })
}

fn directing_entry(group: &Directing) -> DirectingEntry {
    DirectingEntry {
        vips: group.vips.to_strings(),
        ports: group.ports.iter().map(ToString::to_string).collect(),
        ready: group
            .ready
            .iter()
            .copied()
            .collect::<IpRanges>()
            .to_strings(),
        unready: group
            .unready
            .iter()
            .map(|(address, refusal)| UnreadyEntry {
                address: address.to_string(),
                reason: refusal.reason.name().to_owned(),
                message: refusal.message.clone(),
            })
            .collect(),
        draining: group
            .draining
            .iter()
            .copied()
            .collect::<IpRanges>()
            .to_strings(),
    }
}

fn move_entry(moved: &Move) -> MoveEntry {
    MoveEntry {
        at: moved.at.to_string(),
        vips: moved.vips.to_strings(),
        from: moved.from.clone(),
        cause: moved.cause.name().to_owned(),
        milliseconds: number(moved.after.as_millis()),
    }
}

fn moved(entry: &MoveEntry, cause: TakeCause) -> Result<Move, InvalidReport> {
    let field = "status.moves";
    Ok(Move {
        at: parse(field, &entry.at)?,
        vips: ranges(field, &entry.vips)?,
        from: entry.from.clone(),
        cause,
        after: Duration::from_millis(count(field, entry.milliseconds)?),
    })
}

impl From<&Preflight> for PreflightEntry {
    fn from(entry: &Preflight) -> Self {
        Self {
            check: entry.check.name().to_owned(),
            message: entry.message.clone(),
            fix: entry.fix.clone(),
        }
    }
}

fn preflight(entry: &PreflightEntry) -> Preflight {
    Preflight {
        check: PreflightCheck::from_name(&entry.check),
        message: entry.message.clone(),
        fix: entry.fix.clone(),
    }
}

fn warning_entry((warning, vips): (&Refusal, &IpRanges)) -> WarningEntry {
    WarningEntry {
        vips: vips.to_strings(),
        reason: warning.reason.name().to_owned(),
        message: warning.message.clone(),
    }
}

fn directing(entry: &DirectingEntry) -> Result<Directing, InvalidReport> {
    let field = "status.directing";
    let servers = |texts: &[String]| {
        let ranges = ranges(field, texts)?;
        if ranges.len() > MAX_SERVERS as u128 {
            return Err(invalid(
                field,
                format!("more than {MAX_SERVERS} real servers"),
            ));
        }
        Ok(ranges.iter().collect())
    };
    let unready = entry.unready.iter().map(|entry| {
        let refusal = refusal(&entry.reason, &entry.message);
        Ok((parse(field, &entry.address)?, refusal))
    });
    let ports = entry.ports.iter().map(|port| parse(field, port));
    Ok(Directing {
        vips: ranges(field, &entry.vips)?,
        ports: ports.collect::<Result<_, _>>()?,
        ready: servers(&entry.ready)?,
        unready: unready.collect::<Result<_, _>>()?,
        draining: servers(&entry.draining)?,
    })
}

fn ranges(field: &'static str, texts: &[String]) -> Result<IpRanges, InvalidReport> {
    IpRanges::parse(texts.iter().map(String::as_str)).map_err(|error| invalid(field, error))
}

fn parse<T: FromStr<Err: ToString>>(field: &'static str, text: &str) -> Result<T, InvalidReport> {
    text.parse()
        .map_err(|error: T::Err| invalid(field, format!("{text:?}: {}", error.to_string())))
}

/// A refusal as it was written. During an upgrade a newer agent may have reasons that this program doesn't know; the
/// rest of its report still counts, so the unknown word moves into the message.
fn refusal(reason: &str, message: &str) -> Refusal {
    Reason::from_name(reason).map_or_else(
        || Refusal::new(Reason::Pending, format!("{reason}: {message}")),
        |reason| Refusal::new(reason, message),
    )
}

fn count<T: TryFrom<i64>>(field: &'static str, value: i64) -> Result<T, InvalidReport> {
    T::try_from(value).map_err(|_| invalid(field, format!("{value} is no count")))
}

fn number<T: TryInto<i64>>(value: T) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

fn rival_entry((mac, node): (&Mac, &Option<NodeName>)) -> RivalEntry {
    RivalEntry {
        mac: mac.to_string(),
        node: node.as_ref().map(ToString::to_string),
    }
}

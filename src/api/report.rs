//! A NodeState's content as plain values, written compactly and checked when read.

mod write;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;

use super::node_state::{
    DirectingEntry, DrainEntry, MAX_ENTRIES, MAX_TEXT, MoveEntry, NodeArp, NodeStateStatus,
    PreflightEntry, RepairEntry, ReservedEntry,
};
use crate::model::{
    ArpSettings, Conflict, Dev, Directing, Drain, IpRanges, Mac, Move, NodeName, PeerState,
    Preflight, PreflightCheck, Reason, Refusal, Repair, Reserved, ReservedAs, TakeCause,
    VipDevices, VsKey,
};

pub use write::StatusSize;

/// How many addresses of each kind of reserved ones are reported.
const MAX_RESERVED: usize = 256;

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
    /// Real servers of this director that keep their open connections for a while. For people: no node acts on it, so a
    /// count that changes wakes no agent.
    pub drains: BTreeMap<IpAddr, Drain>,
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
    /// What others changed and directway put right, by the kind of op.
    pub repairs: BTreeMap<String, Repair>,
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
    /// The kernel's index: of several interfaces in a network the first one that works faces the clients.
    pub index: u32,
    /// Whether it is down or has no carrier.
    pub down: bool,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
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
    /// Reads what a node wrote. It takes memory in proportion to the status, whatever that claims.
    ///
    /// # Errors
    /// The first field that no agent can have written.
    pub fn from_status(status: &NodeStateStatus) -> Result<Self, InvalidReport> {
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
            networks: networks(status)?,
            arp_all: arp_settings("status.arpAll", status.arp_all)?,
            vip_devices: vip_devices(&status.vip_devices)?,
            peer: Self::peer_of(status)?,
            refused: refused(status)?,
            conflicts: conflicts(status)?,
            moves: moves.collect::<Result<_, _>>()?,
            drains: status.drains.iter().map(drain).collect::<Result<_, _>>()?,
            warnings: warnings.collect::<Result<_, _>>()?,
            preflight: status.preflight.iter().map(preflight).collect(),
            services: count("status.services", status.services)?,
            destinations: count("status.destinations", status.destinations)?,
            drift: count("status.drift", status.drift)?,
            repairs: repairs(status)?,
            undo: status.undo.as_ref().map(|undo| Undoing {
                request: undo.request.clone(),
                done: undo.done,
            }),
            left_out: count("status.leftOut", status.left_out.unwrap_or(0))?,
        })
    }

    /// The networks that the node is in.
    pub fn subnets(&self) -> BTreeSet<IpNet> {
        let nics = self.networks.values();
        nics.flat_map(|nic| nic.subnets.iter().copied()).collect()
    }

    /// Reads only the part that other nodes act on.
    ///
    /// # Errors
    /// As [`Self::from_status`].
    pub fn peer_of(status: &NodeStateStatus) -> Result<PeerState, InvalidReport> {
        let (mut addresses, mut macs) = (BTreeSet::new(), BTreeMap::new());
        for network in &status.networks {
            let field = "status.networks";
            let mac: Option<Mac> = network
                .mac
                .as_ref()
                .map(|mac| parse(field, mac))
                .transpose()?;
            for address in &network.addresses {
                let address = parse(field, address)?;
                addresses.insert(address);
                macs.extend(mac.map(|mac| (address, mac)));
            }
        }
        let field = "status.directingLeftOut";
        let left_out: u64 = count(field, status.directing_left_out.unwrap_or(0))?;
        Ok(PeerState {
            addresses,
            reserved: reserved(&status.reserved)?,
            macs,
            bound: ranges("status.bound", &status.bound)?,
            held: ranges("status.held", &status.held)?,
            incomplete: ranges("status.incomplete", &status.incomplete)?,
            directing: status
                .directing
                .iter()
                .map(directing)
                .collect::<Result<_, _>>()?,
            partial: left_out > 0,
        })
    }
}

fn networks(status: &NodeStateStatus) -> Result<BTreeMap<Dev, ReportedNic>, InvalidReport> {
    let field = "status.networks";
    let networks = status.networks.iter().map(|network| {
        let subnets = network.subnets.iter().map(|net| parse(field, net));
        let own = network.addresses.iter().map(|ip| parse(field, ip));
        let mac = network.mac.as_ref().map(|mac| parse(field, mac));
        let nic = ReportedNic {
            index: count(field, network.index)?,
            down: network.down,
            mac: mac.transpose()?,
            subnets: subnets.collect::<Result<_, _>>()?,
            addresses: own.collect::<Result<_, _>>()?,
            arp: arp_settings(field, network.arp)?,
        };
        Ok((parse(field, &network.interface)?, nic))
    });
    networks.collect()
}

fn refused(status: &NodeStateStatus) -> Result<BTreeMap<VsKey, Refusal>, InvalidReport> {
    let field = "status.refused";
    let named = status.refused.iter();
    let named: usize = named.map(|entry| entry.virtual_services.len()).sum();
    if named > MAX_ENTRIES {
        // Each of them has a copy of its entry's message.
        let cause = format!("{named} VirtualServices are more than {MAX_ENTRIES}");
        return Err(invalid(field, cause));
    }
    let mut refused = BTreeMap::new();
    for entry in &status.refused {
        let refusal = refusal(&entry.reason, &entry.message);
        for name in &entry.virtual_services {
            let (namespace, name) = name
                .split_once('/')
                .ok_or_else(|| invalid(field, format!("{name:?} is not NAMESPACE/NAME")))?;
            refused.insert(VsKey::new(namespace, name), refusal.clone());
        }
    }
    Ok(refused)
}

fn conflicts(status: &NodeStateStatus) -> Result<BTreeMap<(IpAddr, Dev), Conflict>, InvalidReport> {
    let field = "status.conflicts";
    let conflicts = status.conflicts.iter().map(|entry| {
        let own = entry.mac.as_ref().map(|mac| parse(field, mac));
        let rivals = entry.rivals.iter().map(|rival| {
            let node = rival.node.as_deref().map(NodeName::from);
            Ok((parse(field, &rival.mac)?, node))
        });
        let conflict = Conflict {
            own: own.transpose()?,
            rivals: rivals.collect::<Result<_, _>>()?,
        };
        let key = (parse(field, &entry.vip)?, parse(field, &entry.interface)?);
        Ok((key, conflict))
    });
    conflicts.collect()
}

fn vip_devices(names: &[String]) -> Result<Option<VipDevices>, InvalidReport> {
    if names.is_empty() {
        return Ok(None);
    }
    let others = names.iter().filter(|name| *name != "lo");
    let others = others.map(|name| parse("status.vipDevices", name));
    Ok(Some(VipDevices(others.collect::<Result<_, _>>()?)))
}

fn arp_settings(field: &'static str, arp: NodeArp) -> Result<ArpSettings, InvalidReport> {
    Ok(ArpSettings {
        ignore: count(field, arp.ignore)?,
        announce: count(field, arp.announce)?,
    })
}

/// During an upgrade a newer agent may have kinds that this program does not know: those are skipped.
fn reserved(entries: &[ReservedEntry]) -> Result<Reserved, InvalidReport> {
    let field = "status.reserved";
    let mut reserved = Reserved::new();
    for entry in entries {
        let Some(kind) = ReservedAs::from_name(&entry.as_) else {
            continue;
        };
        if entry.addresses.len() > MAX_RESERVED {
            let cause = format!("more than {MAX_RESERVED} addresses as {kind}");
            return Err(invalid(field, cause));
        }
        for address in &entry.addresses {
            reserved.insert(parse(field, address)?, kind);
        }
    }
    Ok(reserved)
}

fn repairs(status: &NodeStateStatus) -> Result<BTreeMap<String, Repair>, InvalidReport> {
    let field = "status.repairs";
    let repair = |entry: &RepairEntry| {
        let repair = Repair {
            count: count(field, entry.count)?,
            first: parse(field, &entry.first)?,
            last: parse(field, &entry.last)?,
            example: entry.example.clone(),
        };
        Ok((entry.op.clone(), repair))
    };
    status.repairs.iter().map(repair).collect()
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

fn drain(entry: &DrainEntry) -> Result<(IpAddr, Drain), InvalidReport> {
    let field = "status.drains";
    let drain = Drain {
        connections: count(field, entry.connections)?,
        until: parse(field, &entry.until)?,
    };
    Ok((parse(field, &entry.address)?, drain))
}

fn preflight(entry: &PreflightEntry) -> Preflight {
    Preflight {
        check: PreflightCheck::from_name(&entry.check),
        message: entry.message.clone(),
        fix: entry.fix.clone(),
    }
}

fn directing(entry: &DirectingEntry) -> Result<Directing, InvalidReport> {
    let field = "status.directing";
    let unready = entry.unready.iter().map(|entry| {
        let refusal = refusal(&entry.reason, &entry.message);
        Ok((parse(field, &entry.address)?, refusal))
    });
    let ports = entry.ports.iter().map(|port| parse(field, port));
    Ok(Directing {
        vips: ranges(field, &entry.vips)?,
        ports: ports.collect::<Result<_, _>>()?,
        ready: ranges(field, &entry.ready)?,
        unready: unready.collect::<Result<_, _>>()?,
        draining: ranges(field, &entry.draining)?,
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
    let message = clip(message, MAX_TEXT);
    Reason::from_name(reason).map_or_else(
        || {
            Refusal::new(
                Reason::Pending,
                clip(&format!("{reason}: {message}"), MAX_TEXT),
            )
        },
        |reason| Refusal::new(reason, message.clone()),
    )
}

fn count<T: TryFrom<i64>>(field: &'static str, value: i64) -> Result<T, InvalidReport> {
    T::try_from(value).map_err(|_| invalid(field, format!("{value} is no count")))
}

/// At most `max` characters of `text`.
fn clip(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max - 1).chain(['…']).collect(),
    }
}

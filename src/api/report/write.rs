//! A report as the status of a NodeState, within the size that a NodeState may have.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{MAX_RESERVED, Report, clip};
use crate::{
    api::node_state::{
        ConflictEntry, DirectingEntry, DrainEntry, MAX_DEVICES, MAX_NAME, MAX_TEXT, MAX_WORD,
        MoveEntry, Network, NodeArp, NodeStateStatus, NodeSummary, PreflightEntry, RefusedEntry,
        RepairEntry, ReservedEntry, RivalEntry, UndoEntry, UnreadyEntry, WarningEntry,
    },
    model::{
        ArpSettings, Directing, Drain, IpRanges, Mac, Move, NodeName, Preflight, PreflightCheck,
        Refusal, Repair, Reserved, ReservedAs, VipDevices,
    },
};

/// How large a status may become, in bytes of JSON.
#[derive(Clone, Copy, Debug)]
pub struct StatusSize {
    /// For interfaces and ranges of addresses, on which other nodes act.
    ranges: usize,
    /// For everything that has a sentence of its own, which people read.
    details: usize,
}

impl StatusSize {
    /// Of a NodeState. etcd takes 1.5 MiB, and every write is sent to every agent.
    const NODE_STATE: Self = Self {
        ranges: 640 * 1024,
        details: 96 * 1024,
    };
    /// Of `/state`, which nobody watches.
    pub const ADMIN: Self = Self {
        ranges: 2 * 1024 * 1024,
        details: 1024 * 1024,
    };
}

impl Report {
    /// The status to write into a NodeState.
    pub fn to_status(&self) -> NodeStateStatus {
        self.to_status_within(StatusSize::NODE_STATE)
    }

    /// The status with as much of the report as fits into `size`; what other nodes act on goes first.
    pub fn to_status_within(&self, size: StatusSize) -> NodeStateStatus {
        let mut ranges = Budget::new(size.ranges);
        let networks = ranges.keep(self.networks.iter().map(network));
        let reserved = ranges.keep(reserved_entries(&self.peer.reserved));
        let held = ranges.keep_ranges(&self.peer.held);
        let bound = ranges.keep_ranges(&self.peer.bound);
        let incomplete = ranges.keep_ranges(&self.peer.incomplete);
        let before = ranges.left_out;
        let groups = self.peer.directing.iter();
        let groups: Vec<(DirectingEntry, &Directing)> = groups
            .map(|group| (directing_entry(group), group))
            .filter(|(entry, _)| ranges.fits(json_size(entry)))
            .collect();
        let directing_left_out = ranges.left_out - before;

        let mut details = Budget::new(size.details);
        let too_large = (ranges.left_out > 0).then(|| too_large(ranges.left_out));
        let preflight = too_large.iter().chain(&self.preflight);
        let preflight = details.keep(preflight.map(PreflightEntry::from));
        let conflicts = details.keep(self.conflict_entries());
        let warnings = details.keep(self.warnings.iter().map(warning_entry));
        let moves = details.keep(self.moves.iter().map(move_entry));
        let repairs = details.keep(self.repairs.iter().map(repair_entry));
        let mut of_drains = details.split(size.details / 6);
        let drains = of_drains.keep(self.drains.iter().map(drain_entry));
        details.join(of_drains);
        // Real servers and VirtualServices share the rest: neither shall crowd out all reasons of the other.
        let mut of_servers = details.split(size.details / 3);
        let directing = groups.into_iter().map(|(entry, group)| DirectingEntry {
            unready: of_servers.keep(group.unready.iter().map(unready_entry)),
            ..entry
        });
        let directing = directing.collect();
        details.join(of_servers);
        let refused = details.keep_refused(self.refused_entries());
        let left_out = ranges.left_out + details.left_out;

        let vip_devices = self.vip_devices.as_ref().map(VipDevices::names);
        let mut vip_devices = vip_devices.unwrap_or_default();
        vip_devices.truncate(MAX_DEVICES);
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
            networks,
            reserved,
            vip_devices,
            arp_all: node_arp(self.arp_all),
            bound,
            held,
            incomplete,
            directing,
            directing_left_out: (directing_left_out > 0).then(|| number(directing_left_out)),
            refused,
            conflicts,
            moves,
            drains,
            warnings,
            preflight,
            services: number(self.services),
            destinations: number(self.destinations),
            drift: number(self.drift),
            repairs,
            undo: self.undo.as_ref().map(|undo| UndoEntry {
                request: clip(&undo.request, MAX_TEXT),
                done: undo.done,
            }),
            left_out: (left_out > 0).then(|| number(left_out)),
        }
    }

    fn conflict_entries(&self) -> impl Iterator<Item = ConflictEntry> {
        let conflicts = self.conflicts.iter();
        conflicts.map(|((vip, dev), conflict)| ConflictEntry {
            vip: vip.to_string(),
            interface: dev.to_string(),
            mac: conflict.own.map(|mac| mac.to_string()),
            rivals: conflict.rivals.iter().map(rival_entry).collect(),
        })
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
                message: clip(&refusal.message, MAX_TEXT),
            })
            .collect()
    }
}

/// What a node lacks whose VIPs do not fit into its report.
fn too_large(left_out: usize) -> Preflight {
    Preflight {
        check: PreflightCheck::ReportSize,
        message: format!(
            "{left_out} ranges of VIPs, groups of real servers or interfaces do not fit into this node's report: other nodes take these VIPs for not bound and not ready"
        ),
        fix: "use consecutive VIPs and fewer different sets of real servers".to_owned(),
    }
}

/// How many bytes still fit, and how many entries did not.
struct Budget {
    bytes: usize,
    left_out: usize,
}

impl Budget {
    fn new(bytes: usize) -> Self {
        Self { bytes, left_out: 0 }
    }

    /// Takes `size` bytes if they fit; if not, an entry is left out.
    fn fits(&mut self, size: usize) -> bool {
        // The comma after it.
        let size = size + 1;
        let fits = size <= self.bytes;
        if fits {
            self.bytes -= size;
        } else {
            self.left_out += 1;
        }
        fits
    }

    fn keep<T: Serialize>(&mut self, entries: impl IntoIterator<Item = T>) -> Vec<T> {
        let entries = entries.into_iter();
        entries
            .filter(|entry| self.fits(json_size(entry)))
            .collect()
    }

    fn keep_ranges(&mut self, ranges: &IpRanges) -> Vec<String> {
        self.keep(ranges.to_strings())
    }

    /// Keeps as many of an entry's objects as fit, because there may be thousands.
    fn keep_refused(&mut self, mut entries: Vec<RefusedEntry>) -> Vec<RefusedEntry> {
        entries.retain_mut(|entry| {
            let names = std::mem::take(&mut entry.virtual_services);
            if self.fits(json_size(entry)) {
                entry.virtual_services =
                    self.keep(names.into_iter().map(|name| clip(&name, MAX_NAME)));
                true
            } else {
                self.left_out += names.len().saturating_sub(1);
                false
            }
        });
        entries
    }

    /// At most `bytes` of what is left, for others.
    fn split(&mut self, bytes: usize) -> Self {
        let part = Self::new(bytes.min(self.bytes));
        self.bytes -= part.bytes;
        part
    }

    /// Takes back what is left of a part.
    fn join(&mut self, part: Self) {
        self.bytes += part.bytes;
        self.left_out += part.left_out;
    }
}

/// The bytes that an entry takes in the object.
fn json_size(entry: &impl Serialize) -> usize {
    // An entry that cannot be written does not fit.
    serde_json::to_vec(entry).map_or(usize::MAX / 2, |bytes| bytes.len())
}

fn network((dev, nic): (&crate::model::Dev, &super::ReportedNic)) -> Network {
    Network {
        interface: dev.to_string(),
        index: nic.index.into(),
        down: nic.down,
        mac: nic.mac.map(|mac| mac.to_string()),
        subnets: nic.subnets.iter().map(ToString::to_string).collect(),
        addresses: nic.addresses.iter().map(ToString::to_string).collect(),
        arp: node_arp(nic.arp),
    }
}

fn reserved_entries(reserved: &Reserved) -> impl Iterator<Item = ReservedEntry> {
    let entries = ReservedAs::ALL.into_iter().map(|kind| {
        let its = reserved.iter().filter(move |(_, what)| **what == kind);
        let addresses = its.map(|(ip, _)| ip.to_string());
        ReservedEntry {
            as_: kind.name().to_owned(),
            addresses: addresses.take(MAX_RESERVED).collect(),
        }
    });
    entries.filter(|entry| !entry.addresses.is_empty())
}

fn node_arp(settings: ArpSettings) -> NodeArp {
    NodeArp {
        ignore: settings.ignore.into(),
        announce: settings.announce.into(),
    }
}

/// Without the real servers that have a reason.
fn directing_entry(group: &Directing) -> DirectingEntry {
    DirectingEntry {
        vips: group.vips.to_strings(),
        ports: group.ports.iter().map(ToString::to_string).collect(),
        ready: group.ready.to_strings(),
        unready: Vec::new(),
        draining: group.draining.to_strings(),
    }
}

fn unready_entry((address, refusal): (&std::net::IpAddr, &Refusal)) -> UnreadyEntry {
    UnreadyEntry {
        address: address.to_string(),
        reason: refusal.reason.name().to_owned(),
        message: clip(&refusal.message, MAX_TEXT),
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

fn drain_entry((address, drain): (&std::net::IpAddr, &Drain)) -> DrainEntry {
    DrainEntry {
        address: address.to_string(),
        connections: drain.connections.into(),
        until: drain.until.to_string(),
    }
}

impl From<&Preflight> for PreflightEntry {
    fn from(entry: &Preflight) -> Self {
        Self {
            check: entry.check.name().to_owned(),
            message: clip(&entry.message, MAX_TEXT),
            fix: clip(&entry.fix, MAX_TEXT),
        }
    }
}

fn warning_entry((warning, vips): (&Refusal, &IpRanges)) -> WarningEntry {
    WarningEntry {
        vips: vips.to_strings(),
        reason: warning.reason.name().to_owned(),
        message: clip(&warning.message, MAX_TEXT),
    }
}

fn repair_entry((op, repair): (&String, &Repair)) -> RepairEntry {
    RepairEntry {
        op: clip(op, MAX_WORD),
        count: number(repair.count),
        first: repair.first.to_string(),
        last: repair.last.to_string(),
        example: clip(&repair.example, MAX_TEXT),
    }
}

fn rival_entry((mac, node): (&Mac, &Option<NodeName>)) -> RivalEntry {
    RivalEntry {
        mac: mac.to_string(),
        node: node.as_ref().map(ToString::to_string),
    }
}

fn number<T: TryInto<i64>>(value: T) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

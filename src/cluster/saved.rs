//! A snapshot as text, so that an agent that cannot read its sources works with what was known last.
//!
//! One JSON value per line: a header, the objects, and how many there were. What is read back is not trusted: objects
//! pass the checks of an API server's objects, and a text with an error in it is not used at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, Write},
    net::IpAddr,
};

use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};

use super::{Change, SourceName, Store};
use crate::{
    api::{VirtualService, manifest_of, parse_virtual_service},
    model::{
        Directing, IpRanges, Node, NodeName, ParseMacError, PeerState, Port, ReservedAs, Snapshot,
    },
};

/// The only format so far.
const VERSION: u32 = 1;

/// Why a saved snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It is not what directway wrote.
    #[error("line {line}: {cause}")]
    Damaged {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        cause: String,
    },
    /// It is of other sources.
    #[error("it is of the source {0}")]
    OtherSource(String),
}

/// What the text is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    version: u32,
    source: String,
    at: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line<O> {
    Snapshot(Header),
    Undo(String),
    VirtualService(O),
    Node(String, SavedNode),
    Peer(String, SavedPeer),
    End(usize),
}

#[derive(Serialize, Deserialize)]
struct SavedNode {
    labels: BTreeMap<String, String>,
    weight: Option<String>,
    #[serde(default)]
    drained: bool,
    addresses: Vec<IpAddr>,
    cordoned: bool,
    silent: bool,
}

/// Without the reasons of real servers that get no connections: they are for people.
#[derive(Serialize, Deserialize)]
struct SavedPeer {
    addresses: BTreeSet<IpAddr>,
    reserved: BTreeMap<IpAddr, String>,
    macs: BTreeMap<IpAddr, String>,
    bound: Vec<String>,
    held: Vec<String>,
    /// Absent in what an older agent saved.
    #[serde(default)]
    incomplete: Vec<String>,
    directing: Vec<SavedDirecting>,
    partial: bool,
}

#[derive(Serialize, Deserialize)]
struct SavedDirecting {
    vips: Vec<String>,
    ports: Vec<String>,
    ready: Vec<String>,
    draining: Vec<String>,
}

/// Writes what is known from `source` at the time `at`. Refused objects are left out, because nothing is served for them,
/// and so are endpoints: without them real servers keep the weight that they have.
///
/// # Errors
/// Those of `out`.
pub fn save(snapshot: &Snapshot, source: &str, at: &str, out: &mut impl Write) -> io::Result<()> {
    let mut count = 0;
    let mut put = |line: &Line<VirtualService>| {
        serde_json::to_writer(&mut *out, line)?;
        count += 1;
        out.write_all(b"\n")
    };
    put(&Line::Snapshot(Header {
        version: VERSION,
        source: source.to_owned(),
        at: at.to_owned(),
    }))?;
    if let Some(request) = &snapshot.undo {
        put(&Line::Undo(request.clone()))?;
    }
    for object in snapshot.virtual_services.values().flatten() {
        put(&Line::VirtualService(manifest_of(object)))?;
    }
    for (name, node) in &snapshot.nodes {
        put(&Line::Node(name.to_string(), SavedNode::from(node)))?;
    }
    for (name, peer) in snapshot.peers.reports() {
        put(&Line::Peer(name.to_string(), SavedPeer::from(peer)))?;
    }
    let end = Line::<VirtualService>::End(count);
    serde_json::to_writer(&mut *out, &end)?;
    out.write_all(b"\n")
}

/// Reads what [`save`] wrote of `source`: a store of `sources`, all of them read, and the time of the snapshot.
///
/// # Errors
/// The text cannot be read, has an error, is not complete or of another source.
pub fn restore(
    text: impl BufRead,
    source: &str,
    sources: &[SourceName],
) -> Result<(Store, String), SavedError> {
    let mut store = Store::new(sources);
    let mut at = None;
    for (index, line) in text.lines().enumerate() {
        let damaged = |cause: String| SavedError::Damaged {
            line: index + 1,
            cause,
        };
        let line = serde_json::from_str(&line?).map_err(|error| damaged(error.to_string()))?;
        let change = match line {
            Line::Snapshot(header) if index == 0 => {
                at = Some(accept(header, source)?);
                continue;
            }
            _ if at.is_none() => return Err(damaged("is no header".to_owned())),
            Line::End(count) if count == index => {
                store.apply(sources.iter().copied().map(Change::Listed));
                return Ok((store, at.unwrap_or_default()));
            }
            Line::Undo(request) => Change::Undo(Some(request)),
            Line::VirtualService(object) => {
                let object: DynamicObject = object;
                Change::VirtualService(Box::new(parse_virtual_service(&object)))
            }
            Line::Node(name, node) => Change::Node(NodeName(name), SavedNode::into(node)),
            Line::Peer(name, peer) => {
                let peer = PeerState::try_from(peer);
                Change::Peer(NodeName(name), peer.map_err(damaged)?)
            }
            Line::Snapshot(_) | Line::End(_) => {
                return Err(damaged("does not belong here".to_owned()));
            }
        };
        store.apply([change]);
    }
    Err(SavedError::Damaged {
        line: 0,
        cause: "the end is missing".to_owned(),
    })
}

/// The time of a snapshot that is of this format and source.
fn accept(header: Header, source: &str) -> Result<String, SavedError> {
    if header.version != VERSION {
        let cause = format!("version {}, this program knows {VERSION}", header.version);
        return Err(SavedError::Damaged { line: 1, cause });
    }
    if header.source != source {
        return Err(SavedError::OtherSource(header.source));
    }
    Ok(header.at)
}

impl From<&Node> for SavedNode {
    fn from(node: &Node) -> Self {
        let Node {
            labels,
            weight,
            drained,
            addresses,
            cordoned,
            silent,
        } = node.clone();
        Self {
            labels,
            weight,
            drained,
            addresses,
            cordoned,
            silent,
        }
    }
}

impl From<SavedNode> for Node {
    fn from(saved: SavedNode) -> Self {
        Self {
            labels: saved.labels,
            weight: saved.weight,
            drained: saved.drained,
            addresses: saved.addresses,
            cordoned: saved.cordoned,
            silent: saved.silent,
        }
    }
}

impl From<&PeerState> for SavedPeer {
    fn from(peer: &PeerState) -> Self {
        let PeerState {
            addresses,
            reserved,
            macs,
            bound,
            held,
            incomplete,
            directing,
            partial,
        } = peer;
        let directing = directing.iter().map(|group| SavedDirecting {
            vips: group.vips.to_strings(),
            ports: group.ports.iter().map(ToString::to_string).collect(),
            ready: group.ready.to_strings(),
            draining: group.draining.to_strings(),
        });
        Self {
            addresses: addresses.clone(),
            reserved: texts(reserved),
            macs: texts(macs),
            bound: bound.to_strings(),
            held: held.to_strings(),
            incomplete: incomplete.to_strings(),
            directing: directing.collect(),
            partial: *partial,
        }
    }
}

/// The values as users read them.
fn texts(map: &BTreeMap<IpAddr, impl ToString>) -> BTreeMap<IpAddr, String> {
    let texts = map.iter().map(|(ip, value)| (*ip, value.to_string()));
    texts.collect()
}

impl TryFrom<SavedPeer> for PeerState {
    type Error = String;

    fn try_from(saved: SavedPeer) -> Result<Self, String> {
        let ranges = |texts: &[String]| {
            let ranges = IpRanges::parse(texts.iter().map(String::as_str));
            ranges.map_err(|error| error.to_string())
        };
        let directing = saved.directing.iter().map(|group| {
            let ports = group.ports.iter().map(|port| port.parse::<Port>());
            let ports: Result<_, _> = ports.collect();
            Ok(Directing {
                vips: ranges(&group.vips)?,
                ports: ports.map_err(|error| error.to_string())?,
                ready: ranges(&group.ready)?,
                unready: BTreeMap::new(),
                draining: ranges(&group.draining)?,
            })
        });
        let macs = saved.macs.iter().map(|(ip, mac)| Ok((*ip, mac.parse()?)));
        let macs: Result<_, ParseMacError> = macs.collect();
        let reserved = saved.reserved.iter().map(|(ip, kind)| {
            let known = ReservedAs::from_name(kind);
            Ok((
                *ip,
                known.ok_or_else(|| {
                    format!("{kind:?} is no reason for an address to be reserved")
                })?,
            ))
        });
        Ok(Self {
            addresses: saved.addresses,
            reserved: reserved.collect::<Result<_, String>>()?,
            macs: macs.map_err(|error| error.to_string())?,
            bound: ranges(&saved.bound)?,
            held: ranges(&saved.held)?,
            incomplete: ranges(&saved.incomplete)?,
            directing: directing.collect::<Result<_, String>>()?,
            partial: saved.partial,
        })
    }
}

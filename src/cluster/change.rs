//! The changes that sources send, and the queue that takes them to the reader's store.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    api::{ParsedVirtualService, Report},
    model::{Endpoints, Node, NodeName, PeerState, ServiceName, Slice, VsKey},
};

#[cfg(test)]
use crate::api::{Manifest, parse_manifests};

use super::{NoReport, Object, SourceName};

/// Batches of changes in the queue. When it is full, a source waits.
const QUEUE: usize = 4096;

/// The subject of problems with a source itself, as opposed to those with one of its objects.
pub const WATCH_SUBJECT: &str = "watch";

/// A change that a source sends.
#[derive(Debug)]
pub enum Change {
    /// A VirtualService is new or has changed.
    VirtualService(Box<ParsedVirtualService>),
    /// What else the controller and the subcommands read of it; see [`super::Wanted::details`].
    Object(VsKey, Box<Object>),
    /// A node is new or has changed.
    Node(NodeName, Node),
    /// The part of a node's report that other nodes act on.
    Peer(NodeName, PeerState),
    /// A node's complete report, or why there is none; see [`super::Wanted::details`].
    Report(NodeName, Box<Result<Report, NoReport>>),
    /// The request by which everything is to be undone; `None` = there is none any more.
    Undo(Option<String>),
    /// The endpoints of all wanted Services. They replace all earlier ones.
    Endpoints(Endpoints),
    /// A slice of a Service, by its name, is new or has changed.
    EndpointSlice(ServiceName, String, Slice),
    /// The time in a node's heartbeat, as its agent wrote it.
    Heartbeat(NodeName, String),
    /// An object was deleted.
    Gone(Key),
    /// A complete list begins. It replaces an earlier one that did not end.
    Relist(SourceName),
    /// The list has ended: objects that it did not name are gone.
    Listed(SourceName),
    /// Something is wrong with `subject` (a file, an object, or the source itself).
    Problem {
        /// Which source has it.
        source: SourceName,
        /// The file, the object, or [`WATCH_SUBJECT`].
        subject: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The problem with `subject` is over.
    NoProblem {
        /// Which source had it.
        source: SourceName,
        /// The file, the object, or [`WATCH_SUBJECT`].
        subject: String,
    },
    /// All files that could never be read completely: what they had is not known, nor by an earlier good version.
    Unread(BTreeSet<String>),
}

/// The name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A VirtualService.
    VirtualService(VsKey),
    /// A node.
    Node(NodeName),
    /// The NodeState of a node.
    NodeState(NodeName),
    /// A slice of a Service, by its name.
    EndpointSlice(ServiceName, String),
    /// The heartbeat of a node.
    Heartbeat(NodeName),
}

impl Key {
    /// The source of such objects, if they come from an API server.
    pub fn source(&self) -> SourceName {
        match self {
            Self::VirtualService(_) => SourceName::VirtualServices,
            Self::Node(_) => SourceName::Nodes,
            Self::NodeState(_) => SourceName::NodeStates,
            Self::EndpointSlice(..) => SourceName::EndpointSlices,
            Self::Heartbeat(_) => SourceName::Heartbeats,
        }
    }

    /// The object as the subject of a problem.
    pub fn subject(&self) -> String {
        match self {
            Self::VirtualService(key) => format!("VirtualService {key}"),
            Self::Node(name) => format!("Node {name}"),
            Self::NodeState(name) => format!("NodeState {name}"),
            Self::EndpointSlice(service, name) => format!("EndpointSlice {name} of {service}"),
            Self::Heartbeat(name) => format!("Lease of {name}"),
        }
    }
}

impl Change {
    /// A problem with `subject`, or the end of it if `message` is empty.
    pub fn problem(source: SourceName, subject: impl ToString, message: impl ToString) -> Self {
        let (subject, message) = (subject.to_string(), message.to_string());
        if message.is_empty() {
            Self::NoProblem { source, subject }
        } else {
            Self::Problem {
                source,
                subject,
                message,
            }
        }
    }

    /// The end of a problem with `subject`.
    pub fn no_problem(source: SourceName, subject: impl ToString) -> Self {
        Self::problem(source, subject, "")
    }
}

/// The sending end of the queue to the store.
#[derive(Clone)]
pub struct ChangeSender {
    changes: mpsc::Sender<Vec<Change>>,
    sent: Arc<dyn Fn() + Send + Sync>,
}

/// The receiving end of the queue was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl ChangeSender {
    /// Both ends of a queue. `sent` is called after each batch that was put into it.
    pub fn new(sent: impl Fn() + Send + Sync + 'static) -> (Self, mpsc::Receiver<Vec<Change>>) {
        let (changes, receiver) = mpsc::channel(QUEUE);
        let sent = Arc::new(sent);
        (Self { changes, sent }, receiver)
    }

    /// Sends changes that belong together: the reader receives all of them or none.
    pub async fn send(&self, changes: Vec<Change>) -> Result<(), Closed> {
        if changes.is_empty() {
            return Ok(());
        }
        self.changes.send(changes).await.map_err(|_| Closed)?;
        (self.sent)();
        Ok(())
    }

    /// The same for a thread without a runtime.
    pub fn send_blocking(&self, changes: Vec<Change>) -> Result<(), Closed> {
        if changes.is_empty() {
            return Ok(());
        }
        self.changes.blocking_send(changes).map_err(|_| Closed)?;
        (self.sent)();
        Ok(())
    }
}

#[cfg(test)]
impl Change {
    /// The objects of these manifests, all of which must be good.
    pub fn of(manifests: &str) -> Vec<Self> {
        let parsed = parse_manifests("test.yaml", manifests).into_iter();
        let changes = parsed.map(|manifest| match manifest.unwrap() {
            Manifest::VirtualService(admitted) => Self::VirtualService(admitted),
            Manifest::Node(name, node) => Self::Node(name, node),
            Manifest::Other(other) => panic!("{other}"),
        });
        changes.collect()
    }
}

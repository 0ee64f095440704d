//! Where VirtualServices and nodes come from. Sources send changes; one store keeps what is known.

pub mod directory;
pub mod kubernetes;
mod light_node;
mod store;
mod undo_switch;

use std::{fmt, path::PathBuf, str::FromStr, sync::mpsc};

use crate::{
    api::Admitted,
    model::{Endpoints, Node, NodeName, PeerState, ServiceName, Slice, VsKey},
};

use super::Trigger;

pub use store::Store;
pub use undo_switch::{InvalidSwitch, KEY as UNDO_KEY, UndoSwitch};

/// Which source an agent reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// The Kubernetes API: in a pod with its service account, else with the kubeconfig.
    Kubernetes,
    /// A directory of manifests.
    Directory(PathBuf),
}

/// A text that names no source.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a source: use kubernetes or dir:PATH")]
pub struct UnknownSource(String);

impl FromStr for SourceConfig {
    type Err = UnknownSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("dir:") {
            Some(path) if !path.is_empty() => Ok(Self::Directory(path.into())),
            None if text == "kubernetes" => Ok(Self::Kubernetes),
            Some(_) | None => Err(UnknownSource(text.to_owned())),
        }
    }
}

impl fmt::Display for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes => f.pad("kubernetes"),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
        }
    }
}

/// One of the things that must be read completely before anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceName {
    /// The VirtualServices of an API server.
    VirtualServices,
    /// The nodes of an API server.
    Nodes,
    /// What the other nodes' agents report to an API server.
    NodeStates,
    /// The ConfigMap that may ask for everything to be undone.
    UndoSwitch,
    /// The endpoints of Services, of an API server. Read only where a director needs them: until then the
    /// VirtualServices concerned stay as they are.
    EndpointSlices,
    /// A directory of manifests.
    Directory,
}

impl SourceName {
    /// A word for readiness, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::VirtualServices => "virtualservices",
            Self::Nodes => "nodes",
            Self::NodeStates => "nodestates",
            Self::UndoSwitch => "undoswitch",
            Self::EndpointSlices => "endpointslices",
            Self::Directory => "directory",
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The subject of a source's own troubles, as opposed to those of one of its objects.
pub(super) const WATCH_SUBJECT: &str = "watch";

/// What a source has learnt.
#[derive(Debug)]
pub enum Change {
    /// This VirtualService is now so.
    VirtualService(Box<Admitted>),
    /// This one is gone.
    NoVirtualService(VsKey),
    /// This node is now so.
    Node(NodeName, Node),
    /// This one is gone.
    NoNode(NodeName),
    /// This node's agent now reports this.
    Peer(NodeName, PeerState),
    /// This one reports no more.
    NoPeer(NodeName),
    /// Everything is to be undone on behalf of this request, or no longer.
    Undo(Option<String>),
    /// The endpoints of all Services that were asked for are now so.
    Endpoints(Endpoints),
    /// This slice of this Service is now so.
    EndpointSlice(ServiceName, String, Slice),
    /// This one is gone.
    NoEndpointSlice(ServiceName, String),
    /// A complete list begins, and so does any earlier one that did not end.
    Relist(SourceName),
    /// The list has ended: what it did not name is gone.
    Listed(SourceName),
    /// Something is wrong with `subject` (a file, an object, or the source itself).
    Trouble {
        /// Whose trouble.
        source: SourceName,
        /// With what.
        subject: String,
        /// What, and what to do.
        message: String,
    },
    /// It is over.
    NoTrouble {
        /// Whose trouble.
        source: SourceName,
        /// With what.
        subject: String,
    },
    /// Whether what the source gave is all there is.
    Complete(bool),
}

/// A source's end of the way to the passes.
#[derive(Clone, Debug)]
pub struct Feed {
    changes: mpsc::Sender<Vec<Change>>,
    trigger: Trigger,
}

/// The agent is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Feed {
    /// A feed and the other end of it.
    pub fn new(trigger: Trigger) -> (Self, mpsc::Receiver<Vec<Change>>) {
        let (changes, receiver) = mpsc::channel();
        (Self { changes, trigger }, receiver)
    }

    /// Hands over changes that belong together: a pass sees all of them or none.
    pub fn send(&self, changes: Vec<Change>) -> Result<(), Closed> {
        if changes.is_empty() {
            return Ok(());
        }
        self.changes.send(changes).map_err(|_| Closed)?;
        self.trigger.source();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_as_it_prints() {
        for text in ["kubernetes", "dir:/etc/directway"] {
            assert_eq!(text.parse::<SourceConfig>().unwrap().to_string(), text);
        }
        for bad in ["", "dir:", "file:/x", "Kubernetes"] {
            assert!(bad.parse::<SourceConfig>().is_err(), "{bad:?} was accepted");
        }
    }
}

//! What sources tell, and the way that it takes to the reader's store.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    api::{ParsedVirtualService, Report},
    model::{Endpoints, Node, NodeName, PeerState, ServiceName, Slice, VsKey},
};

use super::{NoReport, Object, SourceName};

/// Batches of changes that wait to be read; a source that is faster waits.
const QUEUE: usize = 4096;

/// The subject of a source's own troubles, as opposed to those of one of its objects.
pub const WATCH_SUBJECT: &str = "watch";

/// What a source has learnt.
#[derive(Debug)]
pub enum Change {
    /// This VirtualService is now so.
    VirtualService(Box<ParsedVirtualService>),
    /// The same VirtualService beyond what it asks for; see [`super::Wanted::details`].
    Object(VsKey, Box<Object>),
    /// This node is now so.
    Node(NodeName, Node),
    /// This node's agent now reports this.
    Peer(NodeName, PeerState),
    /// The same with all of its report, or why there is none; see [`super::Wanted::details`].
    Report(NodeName, Box<Result<Report, NoReport>>),
    /// Everything is to be undone on behalf of this request, or no longer.
    Undo(Option<String>),
    /// The endpoints of all Services that were asked for are now so.
    Endpoints(Endpoints),
    /// This slice of this Service is now so.
    EndpointSlice(ServiceName, String, Slice),
    /// This object is gone.
    Gone(Key),
    /// A complete list begins, and so does any earlier one that did not end.
    Relist(SourceName),
    /// The list has ended: what it did not name is gone.
    Listed(SourceName),
    /// Something is wrong with `subject` (a file, an object, or the source itself).
    Problem {
        /// Whose trouble.
        source: SourceName,
        /// With what.
        subject: String,
        /// What, and what to do.
        message: String,
    },
    /// It is over.
    NoProblem {
        /// Whose trouble.
        source: SourceName,
        /// With what.
        subject: String,
    },
    /// Whether what the source gave is all there is.
    Complete(bool),
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A VirtualService.
    VirtualService(VsKey),
    /// A node.
    Node(NodeName),
    /// What a node's agent reports.
    NodeState(NodeName),
    /// This slice of this Service.
    EndpointSlice(ServiceName, String),
}

impl Change {
    /// That `message` is wrong with `subject`; that nothing is, if it is empty.
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

    /// That nothing is wrong with `subject` any more.
    pub fn no_problem(source: SourceName, subject: impl ToString) -> Self {
        Self::problem(source, subject, "")
    }
}

/// A source's end of the way to the store.
#[derive(Clone)]
pub struct ChangeSender {
    changes: mpsc::Sender<Vec<Change>>,
    sent: Arc<dyn Fn() + Send + Sync>,
}

/// Nobody reads any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl ChangeSender {
    /// A feed and the other end of it. `sent` is called whenever something is there to be read.
    pub fn new(sent: impl Fn() + Send + Sync + 'static) -> (Self, mpsc::Receiver<Vec<Change>>) {
        let (changes, receiver) = mpsc::channel(QUEUE);
        let sent = Arc::new(sent);
        (Self { changes, sent }, receiver)
    }

    /// Hands over changes that belong together: a reader sees all of them or none.
    pub async fn send(&self, changes: Vec<Change>) -> Result<(), Closed> {
        if changes.is_empty() {
            return Ok(());
        }
        self.changes.send(changes).await.map_err(|_| Closed)?;
        (self.sent)();
        Ok(())
    }

    /// The same from a thread.
    pub fn send_blocking(&self, changes: Vec<Change>) -> Result<(), Closed> {
        if changes.is_empty() {
            return Ok(());
        }
        self.changes.blocking_send(changes).map_err(|_| Closed)?;
        (self.sent)();
        Ok(())
    }
}

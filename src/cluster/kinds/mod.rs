//! The kinds of objects that an API server is asked for: a file each, and one table of all of them.

mod endpoint_slice;
pub mod heartbeat;
pub mod node;
pub mod node_state;
pub mod undo_switch;
pub mod virtual_service;

use kube::Client;

use super::{SourceName, Wanted, kind::Source};

/// The table: how each source of an API server is read. `None` = this reader does without it.
pub fn source(name: SourceName, client: &Client, wanted: &Wanted) -> Option<Box<dyn Source>> {
    Some(match name {
        SourceName::VirtualServices => Box::new(virtual_service::kind(client, wanted)),
        SourceName::Nodes => Box::new(node::kind(client, wanted)),
        SourceName::NodeStates => Box::new(node_state::kind(client, wanted)),
        SourceName::UndoSwitch => Box::new(undo_switch::kind(client, wanted.switch.as_ref()?)),
        SourceName::EndpointSlices => {
            let services = wanted.services.clone()?;
            Box::new(endpoint_slice::Source::new(client.clone(), services))
        }
        SourceName::Heartbeats => Box::new(heartbeat::kind(client, wanted.heartbeats.as_ref()?)),
        // No API server has it: see `directory`.
        SourceName::Directory => return None,
    })
}

use std::sync::Arc;

use crate::model::SyncHalf;

use super::{Desired, Inputs, may_hold};

/// Adds the daemons that keep the directors' connection tables alike, if the node's administrator wants them.
///
/// A director that is also a real server of a service sends its connections to others, but receives none: as a standby
/// it has no such service, and a connection to the holder's own application arrives marked as local
/// (`IP_VS_CONN_F_LOCALNODE`). After a move the kernel would hand it to a local socket here, which resets it.
pub(super) fn synchronise(wanted: &mut Desired, inputs: &Inputs<'_>) {
    let Some(daemon) = &inputs.options.sync else {
        return;
    };
    let doubles = wanted.virtual_services.iter().any(|(key, vs_state)| {
        let accepted = inputs.admission.accepted.get(key);
        let directs = accepted.is_some_and(|it| may_hold(it, inputs.node, inputs.snapshot));
        vs_state.is_real_server && directs
    });
    let sync = &mut Arc::make_mut(&mut wanted.net).sync;
    sync.insert(SyncHalf::Master, daemon.clone());
    if doubles {
        wanted.notes.push(
            "this director is also a real server of what it directs: it learns of no other director's connections"
                .to_owned(),
        );
    } else {
        sync.insert(SyncHalf::Backup, daemon.clone());
    }
}

//! The reader of the cluster, for the agent, the controller and the subcommands.
//!
//! An API server's objects are listed once ([`look`]) or watched ([`follow`]); a directory of manifests is read again when
//! it changes ([`directory`]). Both send [`Change`]s, and one [`Store`] makes a [`Snapshot`](crate::model::Snapshot) of them.
//!
//! To add a kind of object that is read:
//! 1. a variant of [`SourceName`], and a file in `kinds/` with where its objects are and which changes they mean: the
//!    table in `kinds/mod.rs` lists all of them, and the compiler asks for the new one;
//! 2. a [`Change`] for such an object, and a [`Key`] for its deletion; the compiler lists where the store handles them;
//! 3. if every reader must wait for it, its name in `sources` of `wanted.rs`;
//! 4. the right to list and watch it, in `charts/directway/templates/rbac.yaml`.

mod change;
mod client;
pub mod directory;
mod heartbeat_ages;
mod kind;
mod kinds;
mod list;
mod proxy;
mod reader;
mod saved;
mod source;
mod store;
mod wanted;
mod watch;

pub use change::{Change, ChangeSender, Closed, Key, WATCH_SUBJECT};
pub use client::{client, connect};
pub use directory::{DirectoryId, LookError};
pub use heartbeat_ages::{HeartbeatAges, HeartbeatError, heartbeat_ages};
pub use kinds::{
    heartbeat::heartbeat_name,
    node::LightNode,
    node_state::NoReport,
    undo_switch::{InvalidSwitch, KEY as UNDO_KEY, UndoSwitch},
    virtual_service::{Object, changes as virtual_service},
};
pub use list::{ListError, list};
pub use reader::{follow, has_lost_its_roles, look};
pub use saved::{SavedError, restore, save};
pub use source::{SourceConfig, SourceName, UnknownSource};
pub use store::{Store, missing};
pub use wanted::{OwnObjects, Pace, Wanted};

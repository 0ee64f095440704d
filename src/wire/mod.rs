//! What goes over the wire besides the load: address resolution. Pure; sockets are elsewhere.

pub mod arp;
mod message;

pub use message::{Heard, Question, Says, Sender};

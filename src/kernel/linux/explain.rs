//! A failed op in words.

use crate::{
    kernel::{OpError, meaning::meaning},
    plan::Op,
};

use super::netlink::NetlinkError;

pub use crate::kernel::meaning::{NO_IPVS, NO_RIGHTS, no_device, no_ipvs, refused};

/// The failure of an op in words.
pub fn op_error(op: &Op, error: &NetlinkError) -> OpError {
    match (error, error.errno()) {
        (NetlinkError::Refused { .. }, Some(errno)) => {
            let meaning = meaning(op, errno).unwrap_or_else(|| error.to_string());
            refused(op, errno, meaning)
        }
        _ => unsent(op, error),
    }
}

/// The failure of an op that was not sent, or whose result is not known.
pub fn unsent(op: &Op, cause: impl ToString) -> OpError {
    super::failure(op.to_string(), cause).into()
}

//! A failed op in words.

use crate::{kernel::OpError, plan::Op};

use super::netlink::NetlinkError;

pub use crate::kernel::meaning::{NO_IPVS, NO_RIGHTS, meaning, no_device};

/// The failure of an op in words.
pub fn op_error(op: &Op, error: &NetlinkError) -> OpError {
    match (error, error.errno()) {
        (NetlinkError::Refused { .. }, Some(errno)) => {
            let meaning = meaning(op, errno).unwrap_or_else(|| error.to_string());
            OpError::Refused {
                errno,
                message: format!("{op}: {meaning}"),
            }
        }
        _ => unsent(op, error),
    }
}

/// An op that did not get as far as the kernel.
pub fn unsent(op: &Op, cause: impl ToString) -> OpError {
    super::failure(op.to_string(), cause).into()
}

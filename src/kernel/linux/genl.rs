//! The generic netlink controller: a family's number by its name.

use netlink_packet_core::DecodeError;

use super::{
    netlink::{Channel, NetlinkError, Transport},
    raw::{Reply, Request},
};

/// `GENL_ID_CTRL`: the controller's own message type.
const CONTROLLER: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `struct genlmsghdr`.
const HEADER: usize = 4;

/// The number of the family called `name`. The kernel loads the family's module if it can; `ENOENT` if there is none.
pub fn family<W: Transport>(channel: &mut Channel<W>, name: &str) -> Result<u16, NetlinkError> {
    let mut zero_terminated = name.as_bytes().to_vec();
    zero_terminated.push(0);
    let question = Request::new(CONTROLLER, &[CTRL_CMD_GETFAMILY, 1, 0, 0])
        .with(CTRL_ATTR_FAMILY_NAME, &zero_terminated);
    let replies: Vec<Reply> = channel.ask(&question)?;
    let reply = replies
        .first()
        .ok_or_else(|| DecodeError::from("the controller said nothing about the family"))?;
    let (_, attributes) = reply.split::<HEADER>()?;
    let id = attributes
        .find(CTRL_ATTR_FAMILY_ID)
        .and_then(|value| <[u8; 2]>::try_from(value).ok())
        .ok_or_else(|| DecodeError::from("the controller's answer lacks the family's number"))?;
    Ok(u16::from_ne_bytes(id))
}

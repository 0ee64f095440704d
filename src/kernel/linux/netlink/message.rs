//! The contents of a netlink datagram: headers, answers and refusals. Without I/O, so that it can be fuzzed.

use netlink_packet_core::{
    DecodeError, NLA_HEADER_SIZE, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_ALIGNTO, NetlinkBuffer,
    NetlinkHeader, NetlinkSerializable, NlasIterator, Parseable, emit_u16, parse_i32, parse_u32,
};

/// `sizeof(struct nlmsghdr)`.
const NETLINK_HEADER_LEN: usize = 16;
/// `NLMSGERR_ATTR_MSG` of `linux/netlink.h`: the kernel's explanation of a refusal.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// One message of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawMessage<'a> {
    /// The message's header, as received.
    pub header: NetlinkHeader,
    /// What follows the header, without padding.
    pub payload: &'a [u8],
}

/// Iterates over the messages of one datagram. Ends at the first malformed one, after having returned the error.
#[derive(Debug, Clone)]
pub struct RawMessages<'a> {
    rest: &'a [u8],
}

impl<'a> RawMessages<'a> {
    /// The messages in `datagram`.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for RawMessages<'a> {
    type Item = Result<RawMessage<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let datagram = std::mem::take(&mut self.rest);
        let header =
            match NetlinkBuffer::new_checked(&datagram).and_then(|b| NetlinkHeader::parse(&b)) {
                Ok(header) => header,
                Err(error) => return Some(Err(error)),
            };
        // `new_checked` made sure of NETLINK_HEADER_LEN <= length <= datagram.len(), so every round consumes something.
        let length = header.length as usize;
        let step = length.next_multiple_of(usize::from(NLMSG_ALIGNTO));
        self.rest = datagram.get(step..).unwrap_or_default();
        Some(Ok(RawMessage {
            header,
            payload: &datagram[NETLINK_HEADER_LEN..length],
        }))
    }
}

/// The content of an `NLMSG_ERROR`, or of the `NLMSG_DONE` that ends a dump: an errno and perhaps a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// 0 for success, else a positive errno.
    pub errno: i32,
    /// The kernel's explanation (extended acknowledgement), if it gave one.
    pub message: Option<String>,
}

impl Ack {
    /// Reads an `NLMSG_ERROR`: errno, the request it is about (only its header if capped), attributes.
    pub fn parse_error(message: &RawMessage<'_>) -> Result<Self, DecodeError> {
        let (errno, rest) = split_errno(message.payload)?;
        let echoed = if message.header.flags & NLM_F_CAPPED != 0 {
            NETLINK_HEADER_LEN
        } else {
            let length = rest
                .get(..4)
                .map(parse_u32)
                .transpose()?
                .unwrap_or_default();
            (length as usize).next_multiple_of(usize::from(NLMSG_ALIGNTO))
        };
        let attributes = rest.get(echoed..).unwrap_or_default();
        Ok(Self {
            errno,
            message: explanation(message.header.flags, attributes),
        })
    }

    /// Reads an `NLMSG_DONE`, whose payload may be empty.
    pub fn parse_done(message: &RawMessage<'_>) -> Result<Self, DecodeError> {
        if message.payload.is_empty() {
            return Ok(Self {
                errno: 0,
                message: None,
            });
        }
        let (errno, rest) = split_errno(message.payload)?;
        Ok(Self {
            errno,
            message: explanation(message.header.flags, rest),
        })
    }
}

fn split_errno(payload: &[u8]) -> Result<(i32, &[u8]), DecodeError> {
    let code = payload
        .get(..4)
        .ok_or_else(|| DecodeError::buffer_too_small(payload.len(), 4))?;
    // saturating: the kernel never sends i32::MIN, but negating it must not panic either
    Ok((parse_i32(code)?.saturating_neg(), &payload[4..]))
}

/// The kernel's text is optional: a malformed one must not hide the errno.
fn explanation(flags: u16, attributes: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let text = NlasIterator::new(attributes)
        .map_while(Result::ok)
        .find(|nla| nla.kind() == NLMSGERR_ATTR_MSG)?
        .value()
        .to_vec();
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    Some(String::from_utf8_lossy(&text[..end]).into_owned()).filter(|text| !text.is_empty())
}

/// Appends `message` with its header to `buffer`, padded to netlink's alignment.
pub fn append(buffer: &mut Vec<u8>, message: &impl NetlinkSerializable, flags: u16, sequence: u32) {
    use netlink_packet_core::Emitable;
    let length = NETLINK_HEADER_LEN + message.buffer_len();
    let start = buffer.len();
    buffer.resize(
        start + length.next_multiple_of(usize::from(NLMSG_ALIGNTO)),
        0,
    );
    let mut header = NetlinkHeader::default();
    // A request is a few hundred bytes; the kernel refuses anything near the limits of these types.
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    header.message_type = message.message_type();
    header.flags = flags;
    header.sequence_number = sequence;
    header.emit(&mut buffer[start..start + NETLINK_HEADER_LEN]);
    message.serialize(&mut buffer[start + NETLINK_HEADER_LEN..start + length]);
}

/// Appends one attribute (header, value, padding) to `buffer`.
pub fn append_attribute(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let start = buffer.len();
    let length = NLA_HEADER_SIZE + value.len();
    buffer.resize(start + NLA_HEADER_SIZE, 0);
    // Both fields fit: the slices are two bytes long.
    let _ = emit_u16(
        &mut buffer[start..start + 2],
        u16::try_from(length).unwrap_or(u16::MAX),
    );
    let _ = emit_u16(&mut buffer[start + 2..start + 4], kind);
    buffer.extend_from_slice(value);
    buffer.resize(start + length.next_multiple_of(4), 0);
}

//! Netlink messages as a fixed header and attributes that are decoded only where they matter.

use std::net::IpAddr;

use netlink_packet_core::{
    DecodeError, NLA_F_NESTED, NLA_HEADER_SIZE, NetlinkDeserializable, NetlinkHeader,
    NetlinkSerializable, NlasIterator,
};

use super::netlink::message::append_attribute;

/// A request: its type, the family's fixed header, attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub(super) kind: u16,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A request without attributes.
    pub fn new(kind: u16, header: &[u8]) -> Self {
        Self {
            kind,
            body: header.to_vec(),
        }
    }

    /// Appends an attribute.
    pub fn with(mut self, attribute: u16, value: &[u8]) -> Self {
        append_attribute(&mut self.body, attribute, value);
        self
    }

    /// Appends an attribute with an address.
    pub fn with_ip(self, attribute: u16, ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => self.with(attribute, &v4.octets()),
            IpAddr::V6(v6) => self.with(attribute, &v6.octets()),
        }
    }
}

/// One attribute with others inside.
pub fn nest(kind: u16, inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_attribute(&mut bytes, kind | NLA_F_NESTED, inner);
    bytes
}

/// One attribute with a number.
pub fn number(kind: u16, value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_attribute(&mut bytes, kind, &value.to_ne_bytes());
    bytes
}

impl NetlinkSerializable for Request {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.body);
    }
}

/// An answer that is not yet decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its type.
    pub kind: u16,
    pub(super) body: Vec<u8>,
}

impl NetlinkDeserializable for Reply {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: header.message_type,
            body: payload.to_vec(),
        })
    }
}

impl Reply {
    /// The fixed header of `N` bytes, and the attributes after it.
    pub fn split<const N: usize>(&self) -> Result<([u8; N], Attributes<'_>), DecodeError> {
        let (header, attributes) = self
            .body
            .split_first_chunk::<N>()
            .ok_or_else(|| DecodeError::buffer_too_small(self.body.len(), N))?;
        Ok((*header, Attributes(attributes)))
    }
}

/// Attributes, to be iterated over.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    /// Kind and value of each, up to the first malformed one, which is the last result.
    pub fn each(self) -> impl Iterator<Item = Result<(u16, &'a [u8]), DecodeError>> {
        NlasIterator::new(self.0).map(|nla| {
            let nla = nla?;
            let value = nla
                .into_inner()
                .get(NLA_HEADER_SIZE..usize::from(nla.length()));
            Ok((nla.kind(), value.unwrap_or_default()))
        })
    }

    /// The value of the first attribute of this kind.
    pub fn find(self, kind: u16) -> Option<&'a [u8]> {
        self.each()
            .map_while(Result::ok)
            .find(|(found, _)| *found == kind)
            .map(|(_, value)| value)
    }
}

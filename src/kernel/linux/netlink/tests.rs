use std::collections::VecDeque;

use netlink_packet_core::{
    Emitable, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_MULTIPART, NetlinkBuffer, NetlinkHeader,
    Parseable,
};
use proptest::prelude::*;

use super::*;

/// A message that is nothing but bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text(&'static str);

impl NetlinkSerializable for Text {
    fn message_type(&self) -> u16 {
        99
    }
    fn buffer_len(&self) -> usize {
        self.0.len()
    }
    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(self.0.as_bytes());
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Parsed(String);

impl NetlinkDeserializable for Parsed {
    type Error = DecodeError;
    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        String::from_utf8(payload.to_vec())
            .map(Self)
            .map_err(Into::into)
    }
}

/// Turns what was sent into the datagrams to be received.
type Script = Box<dyn FnMut(&[NetlinkHeader]) -> Vec<(Vec<u8>, u32)>>;

/// A kernel that answers by a script; after the script's last answer, receiving times out.
struct Scripted {
    script: Script,
    inbox: VecDeque<(Vec<u8>, u32)>,
    reopened: usize,
}

fn channel(
    script: impl FnMut(&[NetlinkHeader]) -> Vec<(Vec<u8>, u32)> + 'static,
) -> Channel<Scripted> {
    Channel::over(Scripted {
        script: Box::new(script),
        inbox: VecDeque::new(),
        reopened: 0,
    })
}

impl Transport for Scripted {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let mut headers = Vec::new();
        let mut rest = datagram;
        while !rest.is_empty() {
            let header = NetlinkHeader::parse(&NetlinkBuffer::new_checked(&rest).unwrap()).unwrap();
            headers.push(header);
            rest = rest
                .get((header.length as usize).next_multiple_of(4)..)
                .unwrap_or_default();
        }
        self.inbox.extend((self.script)(&headers));
        Ok(())
    }
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, u32)> {
        let (datagram, sender) = self.inbox.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok((datagram.len(), sender))
    }
    fn reopen(&mut self) -> io::Result<()> {
        self.reopened += 1;
        self.inbox.clear();
        Ok(())
    }
}

fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.length = 16 + u32::try_from(payload.len()).unwrap();
    header.message_type = kind;
    header.flags = flags;
    header.sequence_number = sequence;
    let mut bytes = vec![0; 16];
    header.emit(&mut bytes);
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn ack(sequence: u32, errno: i32) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend([0; 16]);
    message(NLMSG_ERROR, NLM_F_CAPPED, sequence, &payload)
}

fn done(sequence: u32, flags: u16) -> Vec<u8> {
    message(
        NLMSG_DONE,
        NLM_F_MULTIPART | flags,
        sequence,
        &0i32.to_ne_bytes(),
    )
}

fn changes(count: usize) -> Vec<ChangeRequest<Text>> {
    vec![
        ChangeRequest {
            flags: 0,
            message: Text("abc")
        };
        count
    ]
}

#[test]
fn a_batch_asks_for_one_acknowledgement_and_maps_every_refusal_to_its_change() {
    let mut channel = channel(|sent| {
        assert!(sent.len() <= BATCH);
        for (index, header) in sent.iter().enumerate() {
            assert_eq!(header.flags & NLM_F_ACK != 0, index + 1 == sent.len());
        }
        // every tenth fails
        let mut answers: Vec<_> = sent
            .iter()
            .filter(|h| h.sequence_number % 10 == 0)
            .map(|h| (ack(h.sequence_number, 17), 0))
            .collect();
        let last = sent.last().unwrap().sequence_number;
        if last % 10 != 0 {
            answers.push((ack(last, 0), 0));
        }
        answers
    });
    let results = channel.change(&changes(150));
    for (index, result) in results.iter().enumerate() {
        let errno = result.as_ref().err().and_then(NetlinkError::errno);
        assert_eq!(
            errno,
            ((index + 1) % 10 == 0).then_some(17),
            "change {index}"
        );
    }
    assert_eq!(results.len(), 150);
    assert_eq!(
        channel.sent(),
        Sent {
            queries: 0,
            changes: 150
        }
    );
}

#[test]
fn changes_without_an_answer_fail_and_the_socket_is_replaced_before_the_next() {
    let mut first = true;
    let mut channel = channel(move |sent| {
        let last = sent.last().unwrap().sequence_number;
        if std::mem::take(&mut first) {
            return vec![(ack(sent[1].sequence_number, 2), 0)];
        }
        vec![(ack(last, 0), 0)]
    });
    let results = channel.change(&changes(3));
    assert!(matches!(
        results.as_slice(),
        [
            Err(NetlinkError::Silent),
            Err(NetlinkError::Refused { errno: 2, .. }),
            Err(NetlinkError::Silent)
        ]
    ));
    assert!(channel.change(&changes(1)).iter().all(Result::is_ok));
    assert_eq!(channel.transport.reopened, 1);
}

#[test]
fn a_dump_that_was_interrupted_is_read_again() {
    let mut attempts = 0;
    let mut channel = channel(move |sent| {
        attempts += 1;
        let sequence = sent[0].sequence_number;
        let flags = if attempts == 1 { NLM_F_DUMP_INTR } else { 0 };
        let text: &[u8] = if attempts == 1 { b"torn" } else { b"whole" };
        vec![
            (message(99, NLM_F_MULTIPART | flags, sequence, text), 0),
            (done(sequence, 0), 0),
        ]
    });
    let answers: Vec<Parsed> = channel.dump(&Text("?")).unwrap();
    assert_eq!(answers, [Parsed("whole".to_owned())]);
}

#[test]
fn a_dump_that_never_settles_ends() {
    let mut channel = channel(|sent| vec![(done(sent[0].sequence_number, NLM_F_DUMP_INTR), 0)]);
    let result = channel.dump::<_, Parsed>(&Text("?"));
    assert!(matches!(result, Err(NetlinkError::Unstable)), "{result:?}");
    assert_eq!(channel.sent().queries, DUMP_ATTEMPTS as u64);
}

#[test]
fn a_dump_reports_the_error_in_its_last_message() {
    let mut channel = channel(|sent| {
        vec![(
            message(
                NLMSG_DONE,
                NLM_F_MULTIPART,
                sent[0].sequence_number,
                &(-105i32).to_ne_bytes(),
            ),
            0,
        )]
    });
    let error = channel.dump::<_, Parsed>(&Text("?")).unwrap_err();
    assert_eq!(error.errno(), Some(105));
}

#[test]
fn strangers_and_stale_answers_are_not_listened_to() {
    let mut channel = channel(|sent| {
        let sequence = sent[0].sequence_number;
        vec![
            (message(99, 0, sequence, b"from a process"), 4711),
            (message(99, 0, sequence.wrapping_sub(1), b"from before"), 0),
            (
                [message(99, 0, sequence, b"right"), ack(sequence, 0)].concat(),
                0,
            ),
        ]
    });
    let answers: Vec<Parsed> = channel.ask(&Text("?")).unwrap();
    assert_eq!(answers, [Parsed("right".to_owned())]);
}

#[test]
fn a_datagram_longer_than_the_buffer_is_an_error() {
    let mut channel =
        channel(|sent| vec![(message(99, 0, sent[0].sequence_number, &[0; 70_000]), 0)]);
    let result = channel.ask::<_, Parsed>(&Text("?"));
    assert!(
        matches!(result, Err(NetlinkError::Malformed(_))),
        "{result:?}"
    );
}

#[test]
fn the_kernels_own_words_are_kept() {
    let mut payload = (-17i32).to_ne_bytes().to_vec();
    payload.extend([0; 16]);
    message::append_attribute(&mut payload, 1, b"Address already assigned\0");
    let bytes = message(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, 1, &payload);
    let message = RawMessages::new(&bytes).next().unwrap().unwrap();
    let expected = Ack {
        errno: 17,
        message: Some("Address already assigned".to_owned()),
    };
    assert_eq!(Ack::parse_error(&message).unwrap(), expected);
}

#[test]
fn the_real_kernel_lists_the_loopback_device() {
    // RTM_GETLINK with an empty ifinfomsg; needs no privileges and changes nothing
    struct GetLink;
    impl NetlinkSerializable for GetLink {
        fn message_type(&self) -> u16 {
            18
        }
        fn buffer_len(&self) -> usize {
            16
        }
        fn serialize(&self, _: &mut [u8]) {}
    }
    #[derive(Debug)]
    struct Bytes(Vec<u8>);
    impl NetlinkDeserializable for Bytes {
        type Error = DecodeError;
        fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
            Ok(Self(payload.to_vec()))
        }
    }
    let mut channel = Channel::open(netlink_sys::protocols::NETLINK_ROUTE).unwrap();
    let links: Vec<Bytes> = channel.dump(&GetLink).unwrap();
    assert!(
        links
            .iter()
            .any(|link| link.0.windows(3).any(|w| w == b"lo\0"))
    );
}

proptest! {
    #[test]
    fn arbitrary_datagrams_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut count = 0;
        for message in RawMessages::new(&bytes) {
            count += 1;
            if let Ok(message) = message {
                let _ = (Ack::parse_error(&message), Ack::parse_done(&message));
            }
        }
        prop_assert!(count <= bytes.len() / 16 + 1);
    }
}

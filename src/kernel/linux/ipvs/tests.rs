use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_packet_generic::GenlMessage;
use proptest::prelude::*;

use super::*;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn parse(bytes: &[u8]) -> Result<IpvsMessage, DecodeError> {
    GenlMessage::<IpvsMessage>::deserialize(&NetlinkHeader::default(), bytes)
        .map(|message| message.payload)
}

fn emit(message: &IpvsMessage) -> Vec<u8> {
    let message = GenlMessage::from_payload(message.clone());
    let mut bytes = vec![0; NetlinkSerializable::buffer_len(&message)];
    message.serialize(&mut bytes);
    bytes
}

fn vip() -> ServiceAttribute {
    ServiceAttribute::Address(address_bytes(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 100))))
}

#[test]
fn adding_a_service_is_byte_for_byte_what_ipvsadm_sends() {
    let message = IpvsMessage {
        command: Command::NewService,
        attributes: vec![Attribute::Service(vec![
            ServiceAttribute::Family(2),
            ServiceAttribute::Protocol(6),
            vip(),
            ServiceAttribute::Port(80),
            ServiceAttribute::Scheduler("wrr".to_owned()),
            ServiceAttribute::Flags(ServiceFlags {
                flags: ServiceFlags::PERSISTENT,
                mask: u32::MAX,
            }),
            ServiceAttribute::Timeout(300),
            ServiceAttribute::Netmask([255, 255, 255, 0]),
        ])],
    };
    assert_eq!(
        emit(&message),
        unhex(include_str!("captured/add_service.hex"))
    );
}

#[test]
fn asking_for_destinations_is_byte_for_byte_what_ipvsadm_sends() {
    let message = IpvsMessage {
        command: Command::GetDestination,
        attributes: vec![Attribute::Service(vec![
            ServiceAttribute::Family(2),
            ServiceAttribute::Protocol(6),
            vip(),
            ServiceAttribute::Port(80),
        ])],
    };
    assert_eq!(
        emit(&message),
        unhex(include_str!("captured/get_destinations.hex"))
    );
}

#[test]
fn a_services_description_by_the_kernel_is_understood() {
    let message = parse(&unhex(include_str!("captured/service.hex"))).unwrap();
    assert_eq!(message.command, Command::NewService);
    let [Attribute::Service(attributes)] = message.attributes.as_slice() else {
        panic!("{message:?}");
    };
    let hashed = ServiceFlags {
        flags: ServiceFlags::PERSISTENT | ServiceFlags::HASHED,
        mask: u32::MAX,
    };
    for expected in [
        ServiceAttribute::Family(2),
        ServiceAttribute::Protocol(6),
        vip(),
        ServiceAttribute::Port(80),
        ServiceAttribute::Scheduler("wrr".to_owned()),
        ServiceAttribute::Flags(hashed),
        ServiceAttribute::Timeout(300),
        ServiceAttribute::Netmask([255, 255, 255, 0]),
    ] {
        assert!(
            attributes.contains(&expected),
            "{expected:?} is missing in {attributes:?}"
        );
    }
}

#[test]
fn a_destinations_description_by_the_kernel_is_understood() {
    let message = parse(&unhex(include_str!("captured/destination.hex"))).unwrap();
    assert_eq!(message.command, Command::NewDestination);
    let [Attribute::Destination(attributes)] = message.attributes.as_slice() else {
        panic!("{message:?}");
    };
    for expected in [
        DestinationAttribute::Family(2),
        DestinationAttribute::Address(address_bytes(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 12)))),
        DestinationAttribute::Port(80),
        DestinationAttribute::Forward(FORWARD_DIRECT),
        DestinationAttribute::Weight(3),
        DestinationAttribute::UpperThreshold(20),
        DestinationAttribute::LowerThreshold(10),
        DestinationAttribute::ActiveConnections(0),
    ] {
        assert!(
            attributes.contains(&expected),
            "{expected:?} is missing in {attributes:?}"
        );
    }
    let stats = attributes.iter().find_map(|attribute| match attribute {
        DestinationAttribute::Stats64(stats) => Some(stats),
        _ => None,
    });
    assert!(
        stats
            .unwrap()
            .contains(&StatsAttribute::Counter(Stats::BytesIn, 0))
    );
}

#[test]
fn information_has_attribute_numbers_of_its_own() {
    let message = parse(&unhex(include_str!("captured/info.hex"))).unwrap();
    assert_eq!(message.command, Command::SetInfo);
    let expected = [
        InfoAttribute::Version(0x01_02_01),
        InfoAttribute::ConnectionTableSize(4096),
    ];
    assert_eq!(message.attributes, expected.map(Attribute::Info));
}

/// All captured messages, including some with attributes that this code keeps as `Other`.
const CAPTURED: [&str; 6] = [
    include_str!("captured/add_service.hex"),
    include_str!("captured/add_destination.hex"),
    include_str!("captured/service.hex"),
    include_str!("captured/get_destinations.hex"),
    include_str!("captured/destination.hex"),
    include_str!("captured/info.hex"),
];

#[test]
fn what_was_parsed_and_written_parses_to_the_same() {
    for text in CAPTURED {
        let message = parse(&unhex(text)).unwrap();
        assert_eq!(parse(&emit(&message)).unwrap(), message);
    }
}

#[test]
fn unknown_commands_and_attributes_are_kept() {
    // command 200; attribute 77 with two bytes
    let bytes = [200, 1, 0, 0, 6, 0, 77, 0, 0xaa, 0xbb, 0, 0];
    let message = parse(&bytes).unwrap();
    assert_eq!(message.command, Command::Other(200));
    assert_eq!(emit(&message), bytes);
}

#[test]
fn a_known_attribute_of_the_wrong_length_is_an_error_that_names_it() {
    // a service whose port has three bytes
    let bytes = [1, 1, 0, 0, 12, 0, 1, 0, 7, 0, 4, 0, 0, 80, 1, 0];
    let error = parse(&bytes).unwrap_err().to_string();
    assert!(error.contains("IPVS_SVC_ATTR_PORT"), "{error}");
}

#[test]
fn every_command_round_trips() {
    for number in 0..=u8::MAX {
        assert_eq!(u8::from(Command::from(number)), number);
    }
}

/// Written, read and written again, the bytes are the same. (Not the messages: an attribute that is marked as nested *and* as
/// in network order, which no kernel sends, loses one of the marks when written.)
fn assert_settled(message: &IpvsMessage) {
    let bytes = emit(message);
    assert_eq!(emit(&parse(&bytes).unwrap()), bytes);
}

proptest! {
    /// Neither a panic nor an endless loop, and whatever is accepted survives being written and read again.
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(message) = parse(&bytes) {
            assert_settled(&message);
        }
    }

    /// The same from real messages with a few bytes changed, which get further into the parser.
    #[test]
    fn damaged_messages_do_no_harm(
        which in 0..CAPTURED.len(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = unhex(CAPTURED[which]);
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 4);
        if let Ok(message) = parse(&bytes) {
            assert_settled(&message);
        }
    }
}

//! The messages of a check by DNS (RFC 1035 4.1): a query for the addresses of a name, and what an answer begins with. The
//! records of an answer are not read.

/// The response code of a name server that could not find out, because it failed or the servers that it asks did.
pub const SERVFAIL: u8 = 2;

const HEADER: usize = 12;
/// The type of IPv4 addresses, and the class of the Internet.
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;

/// A query for the IPv4 addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuery(Vec<u8>);

impl DnsQuery {
    /// Asks for `name`, by the number `id`, and for recursion; `None` if it is not the name of a domain.
    pub fn new(id: u16, name: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(HEADER + name.len() + 6);
        bytes.extend(id.to_be_bytes());
        // Recursion is desired. One question, and nothing else.
        bytes.extend([0x01, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok();
            bytes.push(length.filter(|length| (1..=63).contains(length))?);
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend(TYPE_A.to_be_bytes());
        bytes.extend(CLASS_IN.to_be_bytes());
        (name.len() <= 253).then_some(Self(bytes))
    }

    /// The message to send.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The response code of `message`; `None` if it is no answer to this query.
    pub fn code(&self, message: &[u8]) -> Option<u8> {
        let (own_header, own_question) = self.0.split_at_checked(HEADER)?;
        let (header, rest) = message.split_at_checked(HEADER)?;
        // Names are compared without regard to case (RFC 4343), and no other byte of a question is a letter's.
        let question = rest.get(..own_question.len())?;
        let [id0, id1, flags0, flags1, count0, count1, ..] = *header else {
            return None;
        };
        // A response to a standard query: QR is 1, OPCODE is 0.
        let is_response = flags0 & 0xf8 == 0x80;
        let is_to_this = own_header.starts_with(&[id0, id1])
            && [count0, count1] == [0, 1]
            && question.eq_ignore_ascii_case(own_question);
        (is_response && is_to_this).then_some(flags1 & 0x0f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query() -> DnsQuery {
        DnsQuery::new(0x1234, "Shop.example").unwrap()
    }

    /// An answer to it with this response code, without records.
    fn answer(code: u8) -> Vec<u8> {
        let mut answer = query().bytes().to_vec();
        answer[2] = 0x81;
        answer[3] = 0x80 | code;
        answer
    }

    #[test]
    fn a_query_has_one_question_for_the_addresses_of_its_name() {
        let bytes = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04Shop\x07example\x00\x00\x01\x00\x01";
        assert_eq!(query().bytes(), bytes);
        let long = [&*"a".repeat(63); 4].join(".");
        for name in ["", "a..b", "a.", ".a", &"a".repeat(64), &long] {
            assert_eq!(DnsQuery::new(1, name), None, "{name}");
        }
        assert!(DnsQuery::new(1, &long[..253]).is_some());
    }

    #[test]
    fn an_answer_has_the_id_and_the_question_of_its_query() {
        for code in [0, SERVFAIL, 3, 5] {
            assert_eq!(query().code(&answer(code)), Some(code));
        }
        let with_records = [answer(0), vec![0xc0, 12, 0, 1]].concat();
        assert_eq!(query().code(&with_records), Some(0));
        let lower_case = answer(0).to_ascii_lowercase();
        assert_eq!(query().code(&lower_case), Some(0));
        assert_eq!(query().code(query().bytes()), None, "the query itself");
        // Another id, a status request, two questions, another name, type, class.
        for at in [0, 1, 2, 5, 14, 20, 27, 29] {
            let mut other = answer(0);
            other[at] ^= 0x10;
            assert_eq!(query().code(&other), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(message in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(query().code(&message), None);
        }

        #[test]
        fn no_end_of_an_answer_is_too_strange(end in prop::collection::vec(any::<u8>(), 0..80), length in 0_usize..31) {
            let whole = answer(3);
            let message = [&whole[..length.min(whole.len())], &end].concat();
            let code = query().code(&message);
            prop_assert!(code.is_none() || message.to_ascii_lowercase().starts_with(&whole[..2]));
        }

        #[test]
        fn any_name_is_a_query_or_none(id in any::<u16>(), name in any::<String>()) {
            if let Some(query) = DnsQuery::new(id, &name) {
                prop_assert!(query.bytes().len() <= 12 + 255 + 4);
            }
        }
    }
}

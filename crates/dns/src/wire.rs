//! Messages on the wire: reading questions, writing replies that fit.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Record, RecordType};

/// Bytes of a UDP reply to a client that does not say how much it takes.
const PLAIN_UDP: usize = 512;
/// Most bytes of a UDP reply, whatever the client takes.
const MOST_UDP: usize = 4096;
/// Most bytes of a TCP reply.
const MOST_TCP: usize = 65_535;

/// How a question came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// Sections of a reply.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) code: ResponseCode,
    pub(crate) authoritative: bool,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

/// A well-formed question.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) query: Query,
    metadata: Metadata,
    edns: Option<u16>,
}

/// Why bytes are not a question to answer.
pub(crate) enum Rejected {
    /// Not worth a reply: a response, or too short to reply to.
    Silently,
    /// To be answered with these bytes.
    With(Vec<u8>),
}

impl Question {
    /// Reads one question.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Rejected> {
        let Ok(message) = Message::from_vec(bytes) else { return Err(garbled(bytes)) };
        if message.metadata.message_type == MessageType::Response {
            return Err(Rejected::Silently);
        }
        let edns = message.edns.as_ref().map(Edns::max_payload);
        let question = |query: Query| Self { query, metadata: message.metadata, edns };
        let reject = |code| {
            let query = message.queries.first().cloned().unwrap_or_default();
            Err(Rejected::With(question(query).reply(Reply { code, ..Reply::default() }, Transport::Udp)))
        };
        if message.metadata.op_code != OpCode::Query {
            return reject(ResponseCode::NotImp);
        }
        if message.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return reject(ResponseCode::BADVERS);
        }
        match message.queries.as_slice() {
            [query] if matches!(query.query_class(), DNSClass::IN | DNSClass::ANY) => {
                Ok(question(query.clone()))
            }
            [_] => reject(ResponseCode::Refused),
            _ => reject(ResponseCode::FormErr),
        }
    }

    /// The type asked for.
    pub(crate) fn kind(&self) -> RecordType {
        self.query.query_type()
    }

    /// The most bytes the client takes over `transport`.
    pub(crate) fn limit(&self, transport: Transport) -> usize {
        match transport {
            Transport::Tcp => MOST_TCP,
            Transport::Udp => {
                self.edns.map_or(PLAIN_UDP, |size| usize::from(size).clamp(PLAIN_UDP, MOST_UDP))
            }
        }
    }

    /// Writes a reply; one that is too long loses its additional records, then answers, and says so.
    pub(crate) fn reply(&self, reply: Reply, transport: Transport) -> Vec<u8> {
        let limit = self.limit(transport);
        let mut message = self.message(reply);
        let mut bytes = encode(&message);
        if bytes.len() > limit && !message.additionals.is_empty() {
            message.additionals.clear();
            bytes = encode(&message);
        }
        while bytes.len() > limit && !message.answers.is_empty() {
            message.metadata.truncation = true;
            // Keep about as many as fit; records of one answer are of much the same size.
            let keep = message.answers.len() * limit / bytes.len();
            message.answers.truncate(keep.min(message.answers.len() - 1));
            bytes = encode(&message);
        }
        bytes
    }

    fn message(&self, reply: Reply) -> Message {
        let mut message = Message::response(self.metadata.id, self.metadata.op_code);
        message.metadata = Metadata::response_from_request(&self.metadata);
        message.metadata.authoritative = reply.authoritative;
        message.metadata.recursion_available = true;
        let code = reply.code;
        message.metadata.response_code = code;
        message.add_query(self.query.clone());
        message.add_answers(reply.answers);
        message.add_authorities(reply.authorities);
        message.add_additionals(reply.additionals);
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(1232);
            edns.set_rcode_high(code.high());
            message.set_edns(edns);
        }
        message
    }
}

/// Bytes of a message; an encoding failure, which only a bug can cause, gives an empty reply that nobody sends.
fn encode(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap_or_else(|error| {
        tracing::error!(%error, "reply cannot be encoded");
        Vec::new()
    })
}

/// The reply to bytes that start like a question but are none.
fn garbled(bytes: &[u8]) -> Rejected {
    let [high, low, flags, ..] = *bytes else { return Rejected::Silently };
    if bytes.len() < 12 || flags & 0x80 != 0 {
        return Rejected::Silently;
    }
    let message = Message::error_msg(u16::from_be_bytes([high, low]), OpCode::Query, ResponseCode::FormErr);
    Rejected::With(encode(&message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData};
    use proptest::prelude::*;

    fn query(edns: Option<u16>) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii("Web.example.").unwrap(), RecordType::A));
        message.metadata.recursion_desired = true;
        if let Some(size) = edns {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    /// A reply with `number` addresses, decoded again.
    fn check(edns: Option<u16>, number: u8, transport: Transport) -> (Message, usize) {
        let Ok(question) = Question::read(&query(edns)) else { panic!("a question") };
        let name = question.query.name().clone();
        let record = |n| Record::from_rdata(name.clone(), 30, RData::A(A([10, 0, 0, n].into())));
        let reply = Reply { answers: (0..number).map(record).collect(), ..Reply::default() };
        let bytes = question.reply(reply, transport);
        (Message::from_vec(&bytes).unwrap(), bytes.len())
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
            crate::decode(&bytes);
        }

        /// A question with any few bytes changed: most are refused only after some decoding.
        #[test]
        fn any_damaged_question_gets_a_reply_that_can_be_read(
            changes in prop::collection::vec((0usize..60, any::<u8>()), 0..6),
        ) {
            let mut bytes = query(Some(1232));
            for (at, byte) in changes {
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
            }
            if let Some(reply) = crate::decode(&bytes) {
                prop_assert!(Message::from_vec(&reply).is_ok());
            }
        }
    }

    #[test]
    fn replies_echo_the_question() {
        let (message, _) = check(None, 1, Transport::Udp);
        assert_eq!(message.metadata.id, 7);
        assert!(message.metadata.recursion_desired && message.metadata.recursion_available);
        assert_eq!(message.queries[0].name().to_string(), "Web.example.");
        assert!(message.edns.is_none());
    }

    #[test]
    fn long_replies_are_cut_over_udp_only() {
        let (message, size) = check(None, 100, Transport::Udp);
        assert!(size <= 512 && message.metadata.truncation && message.answers.len() > 20);
        let (message, _) = check(Some(4096), 100, Transport::Udp);
        assert!(!message.metadata.truncation && message.answers.len() == 100 && message.edns.is_some());
        let (message, _) = check(None, 100, Transport::Tcp);
        assert!(!message.metadata.truncation && message.answers.len() == 100);
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let rejected = |bytes: &[u8]| match Question::read(bytes) {
            Ok(_) => panic!("accepted"),
            Err(Rejected::Silently) => None,
            Err(Rejected::With(bytes)) => Some(Message::from_vec(&bytes).unwrap().metadata.response_code),
        };
        assert_eq!(rejected(b"short"), None);
        let mut response = query(None);
        response[2] |= 0x80;
        assert_eq!(rejected(&response), None);
        let mut cut = query(None);
        cut.truncate(14);
        assert_eq!(rejected(&cut), Some(ResponseCode::FormErr));
        let mut update = query(None);
        update[2] |= 5 << 3;
        assert_eq!(rejected(&update), Some(ResponseCode::NotImp));
        let mut chaos = query(None);
        let last = chaos.len() - 1;
        chaos[last] = 3;
        assert_eq!(rejected(&chaos), Some(ResponseCode::Refused));
    }
}

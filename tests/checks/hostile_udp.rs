//! The same over UDP, where anybody may answer, late, often, or with too much.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use md5::{Digest, Md5};
use pairbeat::lvs::check::Verdict;
use pairbeat::lvs::exchange::{
    DnsCheck, DnsRecord, Exchange, Password, RadiusCheck, SipCheck, TextCheck, Transport,
};
use pairbeat::probe::tls::Trust;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::hostile::{AT_ONCE, Outcome, TIMEOUT, cause, judged_at, noise, sound};
use crate::rig::{PATIENCE, outcome, run, spec};

const SECRET: &str = "testing123";

/// What a server makes of a question.
type Makes = fn(&[u8]) -> Vec<u8>;

/// A protocol and what its server says to a question.
struct Talk {
    name: &'static str,
    exchange: Exchange,
    good: Makes,
    /// What answers something that was not asked here, where that can be known.
    other: Option<Makes>,
    no: Makes,
}

/// What a server does with one question.
enum Answer {
    Nothing,
    Says(Vec<u8>),
    FromAnotherPort(Vec<u8>),
    FromAnotherAddress(Vec<u8>),
    /// After the check has ended.
    TooLate(Vec<u8>),
    /// Over and over, as fast as it goes.
    Endless(Vec<u8>),
}

struct Harm {
    name: &'static str,
    /// `None`: this protocol can't be harmed so.
    answer: fn(&Talk, &[u8]) -> Option<Answer>,
    causes: &'static [&'static str],
}

const NONE: &[&str] = &["timeout"];
const ANY_ANSWER: &[&str] = &["protocol", "no match"];

const HARMS: &[Harm] = &[
    Harm { name: "is silent", answer: |_, _| Some(Answer::Nothing), causes: NONE },
    Harm {
        name: "says nothing in a datagram",
        answer: |_, _| Some(Answer::Says(Vec::new())),
        causes: ANY_ANSWER,
    },
    Harm {
        name: "says one byte",
        answer: |_, _| Some(Answer::Says(vec![0xff])),
        causes: ANY_ANSWER,
    },
    Harm {
        name: "says NULs",
        answer: |_, _| Some(Answer::Says(vec![0; 1000])),
        // To DNS and RADIUS it may be the answer to something else.
        causes: &["protocol", "no match", "timeout"],
    },
    Harm {
        name: "says what nobody understands",
        answer: |_, _| Some(Answer::Says(noise(2000))),
        causes: &["protocol", "no match"],
    },
    Harm {
        name: "says one byte more than may be",
        answer: |talk, asked| Some(Answer::Says(padded((talk.good)(asked), 4097))),
        causes: &["too large"],
    },
    Harm {
        name: "says as much as a datagram holds",
        answer: |talk, asked| Some(Answer::Says(padded((talk.good)(asked), 65_507))),
        causes: &["too large"],
    },
    Harm {
        name: "stops in the middle",
        answer: |talk, asked| Some(Answer::Says(half((talk.good)(asked)))),
        causes: ANY_ANSWER,
    },
    Harm {
        name: "says what it is asked",
        answer: |_, asked| Some(Answer::Says(asked.to_vec())),
        causes: ANY_ANSWER,
    },
    Harm {
        name: "says no",
        answer: |talk, asked| Some(Answer::Says((talk.no)(asked))),
        causes: &["answer", "login", "no match"],
    },
    Harm {
        name: "answers from another port",
        answer: |talk, asked| Some(Answer::FromAnotherPort((talk.good)(asked))),
        causes: NONE,
    },
    Harm {
        name: "answers from another address",
        answer: |talk, asked| Some(Answer::FromAnotherAddress((talk.good)(asked))),
        causes: NONE,
    },
    Harm {
        name: "answers something else",
        answer: |talk, asked| talk.other.map(|other| Answer::Says(other(asked))),
        causes: NONE,
    },
    Harm {
        name: "answers something else without end",
        answer: |talk, asked| talk.other.map(|other| Answer::Endless(other(asked))),
        causes: NONE,
    },
    Harm {
        name: "says nothing without end",
        answer: |_, _| Some(Answer::Endless(Vec::new())),
        causes: ANY_ANSWER,
    },
    Harm {
        name: "says what nobody understands without end",
        answer: |_, _| Some(Answer::Endless(noise(1000))),
        causes: ANY_ANSWER,
    },
    Harm {
        name: "answers too late",
        answer: |talk, asked| Some(Answer::TooLate((talk.good)(asked))),
        causes: NONE,
    },
];

/// What only DNS can be abused for: the answer, made from the question.
const DNS: &[Harm] = &[
    Harm {
        name: "announces more than there is",
        answer: |_, asked| said(&dns(asked, [0x81, 0x80], [1, 255], RECORD)),
        causes: &["protocol"],
    },
    Harm {
        name: "has a name that points at itself",
        answer: |_, asked| said(&dns(asked, [0x81, 0x80], [1, 1], &LOOP)),
        causes: &["protocol", "answer"],
    },
    Harm {
        name: "has no records",
        answer: |_, asked| said(&dns(asked, [0x81, 0x80], [1, 0], &[])),
        causes: &["answer"],
    },
    Harm {
        name: "has a truncated answer without records",
        answer: |_, asked| said(&dns(asked, [0x83, 0x80], [1, 0], &[])),
        causes: &["answer"],
    },
    Harm {
        name: "has a record that is longer than the datagram",
        answer: |_, asked| said(&dns(asked, [0x81, 0x80], [1, 1], &LONGER)),
        causes: &["protocol"],
    },
    Harm {
        name: "answers another name",
        answer: |_, asked| {
            let mut answer = dns(asked, [0x81, 0x80], [1, 1], RECORD);
            *answer.get_mut(13)? ^= 1;
            said(&answer)
        },
        causes: &["protocol"],
    },
];

/// What only RADIUS can be abused for.
const RADIUS: &[Harm] = &[
    Harm {
        name: "signs with another secret",
        answer: |_, asked| said(&radius(asked, 2, &[], "another")),
        causes: &["protocol"],
    },
    Harm {
        name: "has an attribute without a length",
        answer: |_, asked| said(&radius(asked, 2, &[18, 0], SECRET)),
        causes: &["protocol"],
    },
    Harm {
        name: "has an attribute that is longer than the packet",
        answer: |_, asked| said(&radius(asked, 2, &[18, 255, b'x'], SECRET)),
        causes: &["protocol"],
    },
    Harm {
        name: "has a Message-Authenticator that is cut off",
        answer: |_, asked| said(&radius(asked, 2, &[80, 4, 0, 0], SECRET)),
        causes: &["protocol"],
    },
    Harm {
        name: "says a length below the header's",
        answer: |_, asked| {
            let mut answer = radius(asked, 2, &[], SECRET);
            *answer.get_mut(3)? = 19;
            said(&answer)
        },
        causes: &["protocol"],
    },
    Harm {
        name: "challenges",
        answer: |_, asked| said(&radius(asked, 11, &[], SECRET)),
        causes: &["login"],
    },
    Harm {
        name: "has a code that is none",
        answer: |_, asked| said(&radius(asked, 99, &[], SECRET)),
        causes: &["protocol"],
    },
];

/// Name (the question's), type A, class IN, a minute, 192.0.2.1.
const RECORD: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
/// The name of the first record behind the question for `a.example`, which points at itself.
const LOOP: [u8; 16] = [0xc0, 27, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
const LONGER: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0xff, 0xff, 192, 0, 2, 1];

fn said(answer: &[u8]) -> Option<Answer> {
    Some(Answer::Says(answer.to_vec()))
}

fn dns(asked: &[u8], flags: [u8; 2], [questions, answers]: [u8; 2], records: &[u8]) -> Vec<u8> {
    let (id, question) = (asked.get(..2).unwrap(), asked.get(12..).unwrap());
    let counts = [0, questions, 0, answers, 0, 0, 0, 0];
    [id, &flags, &counts, question, records].concat()
}

fn radius(asked: &[u8], code: u8, attributes: &[u8], secret: &str) -> Vec<u8> {
    let (identifier, authenticator) = (*asked.get(1).unwrap(), asked.get(4..20).unwrap());
    let len = u16::try_from(20 + attributes.len()).unwrap().to_be_bytes();
    let head = [&[code, identifier][..], &len].concat();
    let sum = Md5::new().chain_update(&head).chain_update(authenticator);
    let sum = sum.chain_update(attributes).chain_update(secret).finalize();
    [&head, sum.as_slice(), attributes].concat()
}

fn half(mut answer: Vec<u8>) -> Vec<u8> {
    answer.truncate(answer.len() / 2);
    answer
}

fn padded(mut answer: Vec<u8>, len: usize) -> Vec<u8> {
    answer.resize(len, b' ');
    answer
}

fn talks() -> Vec<Talk> {
    let name = "a.example".to_owned();
    let (udp, record) = (Transport::Udp, DnsRecord::A);
    let asks = DnsCheck { transport: udp, name, record, receive: None };
    let (password, secret) = (Password::new("pw"), Password::new(SECRET));
    let logs_in = RadiusCheck { login: "probe".to_owned(), password, secret };
    let receive = Some("^pong$".to_owned());
    let text = TextCheck { transport: udp, send: "ping".to_owned(), receive, half_close: true };
    vec![
        Talk {
            name: "dns",
            exchange: Exchange::Dns(asks),
            good: |asked| dns(asked, [0x81, 0x80], [1, 1], RECORD),
            other: Some(|asked| {
                let mut answer = dns(asked, [0x81, 0x80], [1, 1], RECORD);
                *answer.get_mut(0).unwrap() ^= 1;
                answer
            }),
            no: |asked| dns(asked, [0x81, 0x83], [1, 0], &[]),
        },
        Talk {
            name: "radius",
            exchange: Exchange::Radius(logs_in),
            good: |asked| radius(asked, 2, &[], SECRET),
            other: Some(|asked| {
                let mut answer = radius(asked, 2, &[], SECRET);
                *answer.get_mut(1).unwrap() ^= 1;
                answer
            }),
            no: |asked| radius(asked, 3, &[], SECRET),
        },
        Talk {
            name: "sip",
            exchange: Exchange::Sip(SipCheck { transport: udp, user: None }),
            good: |_| b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
            other: Some(|_| b"SIP/2.0 100 Trying\r\n\r\n".to_vec()),
            no: |_| b"SIP/2.0 503 no\r\n\r\n".to_vec(),
        },
        Talk {
            name: "text",
            exchange: Exchange::Text(text),
            good: |_| b"pong".to_vec(),
            other: None,
            no: |_| b"nothing".to_vec(),
        },
    ]
}

/// A server that ends with this.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn open(answer: impl Fn(&[u8]) -> Answer + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            loop {
                // The answer to a check that has gone comes back as an error.
                let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
                done(&socket, from, answer(buffer.get(..len).unwrap())).await;
            }
        });
        Self { address, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn done(socket: &UdpSocket, to: SocketAddr, answer: Answer) {
    let own = socket.local_addr().unwrap();
    match answer {
        Answer::Nothing => {}
        Answer::Says(bytes) => {
            let _ = socket.send_to(&bytes, to).await;
        }
        Answer::FromAnotherPort(bytes) => {
            let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let _ = other.send_to(&bytes, to).await;
        }
        Answer::FromAnotherAddress(bytes) => {
            let other = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), own.port())).await.unwrap();
            let _ = other.send_to(&bytes, to).await;
        }
        Answer::TooLate(bytes) => {
            tokio::time::sleep(TIMEOUT * 2).await;
            let _ = socket.send_to(&bytes, to).await;
        }
        // To the last one who has asked.
        Answer::Endless(bytes) => {
            let (mut to, mut buffer) = (to, [0; 4096]);
            loop {
                let _ = socket.send_to(&bytes, to).await;
                if let Ok((_, from)) = socket.try_recv_from(&mut buffer) {
                    to = from;
                }
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Harms in their protocols.
fn cases() -> Vec<(Talk, &'static Harm)> {
    let mut cases = Vec::new();
    for (at, talk) in talks().iter().enumerate() {
        let own = match talk.name {
            "dns" => DNS,
            "radius" => RADIUS,
            _ => &[],
        };
        for harm in HARMS.iter().chain(own) {
            cases.push((talks().swap_remove(at), harm));
        }
    }
    cases
}

/// What comes of one; `None` where there is no such harm.
async fn tried(talk: Talk, harm: &'static Harm) -> Option<Outcome> {
    // Any question will do to know.
    (harm.answer)(&talk, &[0; 40])?;
    let (name, exchange) = (format!("{} {}", talk.name, harm.name), talk.exchange.clone());
    let answer = move |asked: &[u8]| (harm.answer)(&talk, asked).unwrap();
    let server = Server::open(answer).await;
    let (mut verdict, took) = judged_at(&exchange, server.address, Trust::none()).await;
    // As over TCP: on a busy machine a server may be too slow to do harm in time.
    if cause(&verdict) == "timeout" && !harm.causes.contains(&"timeout") {
        let spec = spec(exchange, server.address, PATIENCE);
        verdict = outcome(&spec, Trust::none()).await;
    }
    Some(Outcome { name, causes: harm.causes, verdict, took })
}

#[test]
fn a_good_server_of_each_protocol_over_udp_is_up() {
    for talk in talks() {
        let verdict = run(async {
            let exchange = talk.exchange.clone();
            let server = Server::open(move |asked| Answer::Says((talk.good)(asked))).await;
            outcome(&spec(exchange, server.address, PATIENCE), Trust::none()).await
        });
        assert_eq!(verdict, Verdict::Up, "{}", talk.name);
    }
}

#[test]
fn whatever_a_server_over_udp_does_its_check_ends_in_time_with_a_cause_and_little_memory() {
    let tried = cases().into_iter().map(|(talk, harm)| tried(talk, harm));
    let results: Vec<Option<Outcome>> =
        run(futures_util::stream::iter(tried).buffer_unordered(AT_ONCE).collect());
    sound(&results.into_iter().flatten().collect::<Vec<_>>());
}

/// The good answer may come behind any number of others, as long as it comes in time.
#[test]
fn the_answer_counts_behind_a_hundred_others() {
    for talk in talks() {
        let Some(other) = talk.other else { continue };
        let verdict = run(async {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = socket.local_addr().unwrap();
            let server = async {
                let mut buffer = vec![0; 4096];
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                let asked = buffer.get(..len).unwrap();
                for answer in std::iter::repeat_n(other, 100).chain([talk.good]) {
                    socket.send_to(&answer(asked), from).await.unwrap();
                }
                std::future::pending::<Verdict>().await
            };
            let spec = spec(talk.exchange.clone(), address, Duration::from_secs(20));
            tokio::select! {
                verdict = outcome(&spec, Trust::none()) => verdict,
                verdict = server => verdict,
            }
        });
        assert_eq!(verdict, Verdict::Up, "{}", talk.name);
    }
}

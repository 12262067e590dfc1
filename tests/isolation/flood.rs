//! A process of the server under attack: it stays alive, small, and there for the others.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use http::Method;
use tokio::runtime::Runtime;

use crate::process::{PATIENCE, Server};

/// What an attack may cost the server, in bytes of memory.
const GROWTH_MAX: u64 = 96 * 1024 * 1024;
/// Streams that are opened and taken back at once.
const RESETS: u32 = 50_000;
/// What a header may grow to before the server must have hung up, in bytes.
const HEADERS_ENDLESS: usize = 64 * 1024 * 1024;
/// The longest frame that HTTP/2 takes without being asked.
const FRAME_BYTES: usize = 16 * 1024;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame of RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header as a literal without indexing (RFC 7541, section 6.2.2); name and value are short.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text");
        [&[length], text.as_bytes()].concat()
    };
    [vec![0], text(name), text(value)].concat()
}

fn request_headers(key: &str) -> Vec<u8> {
    [(":method", "GET"), (":scheme", "http"), (":path", "/v1/locations"), (":authority", "attacker")]
        .iter()
        .map(|(name, value)| literal(name, value))
        .chain([literal("authorization", &format!("Bearer {key}"))])
        .flatten()
        .collect()
}

/// A connection that speaks HTTP/2 as no client would.
struct Rude(TcpStream);

impl Rude {
    fn connect(server: &Server) -> Rude {
        let mut stream = TcpStream::connect(server.address()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).expect("sent");
        // What comes back is read, so that the server is not held up by us.
        let mut back = stream.try_clone().expect("a handle");
        std::thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while back.read(&mut buffer).is_ok_and(|count| 0 < count) {}
        });
        Rude(stream)
    }

    /// Sends; an error says that the server has hung up.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// The server answers somebody else, and has not grown.
fn is_well(server: &Server, before: u64) {
    let others = async {
        for _ in 0..20 {
            server.demo().call(Method::GET, "/v1/locations").send().await.ok(200);
        }
    };
    Runtime::new().expect("a runtime").block_on(others);
    let grown = server.memory().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "the server has grown by {grown} bytes");
}

/// OWASP 4: streams that are opened and reset at once (CVE-2023-44487), with a valid credential: the server hangs
/// up or bears it.
#[test]
fn streams_that_are_taken_back_at_once_do_no_harm() {
    let server = Server::start(&[]);
    is_well(&server, u64::MAX);
    let before = server.memory();
    let headers = request_headers(&server.key);
    for _ in 0..4 {
        let mut rude = Rude::connect(&server);
        for number in 0..RESETS / 4 {
            let stream = 2 * number + 1;
            let opened = frame(HEADERS, END_STREAM | END_HEADERS, stream, &headers);
            if rude.send(&[opened, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()).is_err() {
                break;
            }
        }
    }
    is_well(&server, before);
    server.stop();
}

/// OWASP 4: a header that never ends (CVE-2024-27316): the server hangs up long before it has cost anything.
#[test]
fn a_header_that_never_ends_is_cut_off() {
    let server = Server::start(&[]);
    is_well(&server, u64::MAX);
    let before = server.memory();
    // One long header in pieces, and many small ones.
    let long = vec![0_u8; FRAME_BYTES];
    let small: Vec<u8> = std::iter::repeat_n(literal("x", "y"), FRAME_BYTES / 5).flatten().collect();
    for piece in [long, small] {
        let mut rude = Rude::connect(&server);
        let begun = frame(HEADERS, END_STREAM, 1, &request_headers(&server.key));
        let mut sent = begun.len();
        let mut open = rude.send(&begun).is_ok();
        while open && sent < HEADERS_ENDLESS {
            let more = frame(CONTINUATION, 0, 1, &piece[..piece.len().min(FRAME_BYTES)]);
            sent += more.len();
            open = rude.send(&more).is_ok();
        }
        assert!(!open, "the server takes {sent} bytes of one header");
        is_well(&server, before);
    }
    server.stop();
}

/// OWASP 4: who sends half a body and then nothing more is answered when the time is over, and takes no place from
/// others.
#[test]
fn a_body_that_does_not_come_is_given_up() {
    let server = Server::start(&[("CARGO_PILOT__GATEWAY__DEADLINE_MS", "2000")]);
    let before = server.memory();
    let request = format!(
        "POST /v1/locations HTTP/1.1\r\nHost: slow\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n{{",
        server.key
    );
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.write_all(request.as_bytes()).expect("sent");
            stream
        })
        .collect();
    is_well(&server, before);
    for stream in &mut slow {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 504", "{}", String::from_utf8_lossy(&answer));
    }
    drop(slow);
    is_well(&server, before);
    server.stop();
}

/// Rubbish on the port: frames cut off, of no kind, of a length that they do not have, and plain noise.
#[test]
fn noise_on_the_port_does_no_harm() {
    let server = Server::start(&[]);
    is_well(&server, u64::MAX);
    let before = server.memory();
    let noise: Vec<u8> =
        (0..200_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_be_bytes()[3]).collect();
    let huge = [&[0xff; 9][..], &noise].concat();
    let http1 = [&b"GET / HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(10_000)].concat();
    let line = [&b"GET /"[..], &b"a".repeat(1_000_000)].concat();
    for bytes in [&noise, &huge, &http1, &line, &[PREFACE, &noise].concat(), &PREFACE[..10].to_vec()] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(server.address()).expect("a connection");
            stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            // It may hang up at any time.
            let _ = stream.write_all(bytes);
        }
    }
    is_well(&server, before);
    server.stop();
}

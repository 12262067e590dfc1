//! The form of a backup file: it can be written and read in one pass, says itself what it holds, and a damaged byte
//! is found where it is.
//!
//! | bytes | what |
//! |---|---|
//! | 21 | `cargo-pilot backup 1` and a line feed |
//! | ... | frames |
//!
//! | bytes of a frame | what |
//! |---|---|
//! | 1 | kind: see [`Kind`] |
//! | 4 | bytes of the payload |
//! | 4 | bytes of the payload before it was compressed (LZ4 block); the same if it is not |
//! | 4 | CRC-32 of everything else |
//! | n | payload: JSON, or records: length and bytes of the key, length and bytes of the value, each length 4 bytes |
//!
//! A manifest, then parts, each with its records in order of their keys and a tally at its end; before the parts of a
//! store where it was. The last frame has the SHA-256 of all bytes before it.

use std::fmt;
use std::io::{self, Read, Write};

use bytes::Bytes;
use journal_embedded::{Place, RawRecord};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The first line without its version.
const MAGIC: &[u8] = b"cargo-pilot backup ";
/// The whole first line.
const FIRST_LINE: &[u8] = b"cargo-pilot backup 1\n";
const FRAME_HEADER: usize = 13;
/// Bytes of records that are compressed together; more if one record is larger.
const BLOCK_BYTES: usize = 512 * 1024;
/// Most bytes of a payload, compressed or not: a key and a value of the largest kind, and a block.
const PAYLOAD_MAX: usize = 2 * 1024 * 1024;

/// Kinds of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Manifest,
    Place,
    Begin,
    Records,
    End,
    Finish,
    Failure,
}

impl Kind {
    const ALL: [(u8, Kind); 7] = [
        (b'M', Kind::Manifest),
        (b'P', Kind::Place),
        (b'B', Kind::Begin),
        (b'R', Kind::Records),
        (b'E', Kind::End),
        (b'F', Kind::Finish),
        (b'X', Kind::Failure),
    ];

    fn byte(self) -> u8 {
        Kind::ALL.into_iter().find(|(_, kind)| *kind == self).map_or(0, |(byte, _)| byte)
    }

    fn of(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|(known, _)| *known == byte).map(|(_, kind)| kind)
    }
}

/// What the file says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// Version of the program that wrote it.
    pub(crate) program: String,
    /// When.
    pub(crate) created_at: String,
    /// The stores that follow.
    pub(crate) stores: Vec<String>,
}

/// Where a store was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StorePlace {
    pub(crate) store: String,
    pub(crate) group: u64,
    pub(crate) hash: String,
    pub(crate) feed_forgotten: u64,
}

impl StorePlace {
    pub(crate) fn new(store: &str, place: Place) -> StorePlace {
        let (hash, store) = (hex(&place.hash), store.to_owned());
        StorePlace { store, group: place.group, hash, feed_forgotten: place.forgotten }
    }

    pub(crate) fn place(&self) -> Option<Place> {
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(self.hash.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Place { group: self.group, hash, forgotten: self.feed_forgotten })
    }
}

/// Names a part: a section of a store, or the files of the folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// `None` for files.
    pub(crate) store: Option<String>,
    pub(crate) section: String,
}

impl Part {
    pub(crate) fn files() -> Part {
        Part { store: None, section: "files".to_owned() }
    }

    pub(crate) fn of(store: &str, section: &str) -> Part {
        Part { store: Some(store.to_owned()), section: section.to_owned() }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.store {
            Some(store) => write!(f, "{store}/{}", self.section),
            None => f.write_str(&self.section),
        }
    }
}

/// What all records of a part come to: equal tallies stand for equal records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// Makes a tally.
#[derive(Default)]
pub(crate) struct Count {
    records: u64,
    bytes: u64,
    hash: Sha256,
}

impl Count {
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records += 1;
        self.bytes += (key.len() + value.len()) as u64;
        for bytes in [key, value] {
            self.hash.update((bytes.len() as u64).to_be_bytes());
            self.hash.update(bytes);
        }
    }

    pub(crate) fn tally(self) -> Tally {
        Tally { records: self.records, bytes: self.bytes, sha256: hex(&self.hash.finalize()) }
    }
}

#[derive(Serialize, Deserialize)]
struct Finish {
    sha256: String,
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // into memory
        text
    })
}

/// Writes a backup.
pub(crate) struct Writer<W> {
    to: W,
    hash: Sha256,
    /// Records that wait to be compressed.
    block: Vec<u8>,
    count: Count,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(to: W, manifest: &Manifest) -> io::Result<Writer<W>> {
        let mut writer = Writer { to, hash: Sha256::new(), block: Vec::new(), count: Count::default() };
        writer.put(FIRST_LINE)?;
        writer.json(Kind::Manifest, manifest)?;
        Ok(writer)
    }

    pub(crate) fn place(&mut self, place: &StorePlace) -> io::Result<()> {
        self.json(Kind::Place, place)
    }

    pub(crate) fn begin(&mut self, part: &Part) -> io::Result<()> {
        self.count = Count::default();
        self.json(Kind::Begin, part)
    }

    pub(crate) fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let bytes = key.len() + value.len() + 8;
        if !self.block.is_empty() && self.block.len() + bytes > BLOCK_BYTES {
            self.block()?;
        }
        for bytes in [key, value] {
            let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            self.block.extend_from_slice(&len.to_be_bytes());
            self.block.extend_from_slice(bytes);
        }
        self.count.add(key, value);
        Ok(())
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.block()?;
        let tally = std::mem::take(&mut self.count).tally();
        self.json(Kind::End, &tally)
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        let sha256 = hex(&self.hash.clone().finalize());
        self.json(Kind::Finish, &Finish { sha256 })?;
        self.to.flush()
    }

    /// Ends it with the reason why it is not whole.
    pub(crate) fn fail(mut self, why: &str) -> io::Result<()> {
        self.frame(Kind::Failure, why.as_bytes(), why.len())?;
        self.to.flush()
    }

    fn block(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            let packed = lz4_flex::block::compress(&block);
            match packed.len() < block.len() {
                true => self.frame(Kind::Records, &packed, block.len())?,
                false => self.frame(Kind::Records, &block, block.len())?,
            }
        }
        self.block = block;
        self.block.clear();
        Ok(())
    }

    fn json(&mut self, kind: Kind, what: &impl Serialize) -> io::Result<()> {
        let payload = serde_json::to_vec(what)?;
        self.frame(kind, &payload, payload.len())
    }

    fn frame(&mut self, kind: Kind, payload: &[u8], unpacked: usize) -> io::Result<()> {
        if payload.len().max(unpacked) > PAYLOAD_MAX {
            return Err(io::Error::other("a record is too large for a backup"));
        }
        let header = header(kind.byte(), payload, u32::try_from(unpacked).map_err(io::Error::other)?);
        self.put(&header)?;
        self.put(payload)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }
}

fn header(kind: u8, payload: &[u8], unpacked: u32) -> [u8; FRAME_HEADER] {
    let mut header = [0; FRAME_HEADER];
    header[0] = kind;
    header[1..5].copy_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    header[5..9].copy_from_slice(&unpacked.to_be_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&header[..9]);
    checksum.update(payload);
    header[9..].copy_from_slice(&checksum.finalize().to_be_bytes());
    header
}

/// Why a backup is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("is not a backup of Cargo Pilot, or its first line is damaged")]
    NotABackup,
    #[error("was made by a newer version of cargo-pilot: use that version")]
    Newer,
    #[error("is not whole: it ends at byte {at}{}", within(part.as_ref()))]
    Short { at: u64, part: Option<Part> },
    #[error("is damaged at byte {at}{}: {what}", within(part.as_ref()))]
    Damaged { at: u64, part: Option<Part>, what: &'static str },
    /// Whoever wrote it could not go on.
    #[error("is not whole: {0}")]
    Failed(String),
    #[error("cannot be read: {0}")]
    Io(io::Error),
}

fn within(part: Option<&Part>) -> String {
    part.map_or_else(String::new, |part| format!(", in '{part}'"))
}

/// What comes next in a backup.
#[derive(Debug)]
pub(crate) enum Event {
    /// The parts of this store follow.
    Place(StorePlace),
    /// The records of this part follow.
    Begin(Part),
    /// All of it was read, and it is whole. The hash of the file.
    Finish(String),
}

/// Reads a backup and checks all of it on the way.
pub(crate) struct Reader<R> {
    from: R,
    hash: Sha256,
    /// Bytes that were read.
    at: u64,
    /// Records of the block that is being read.
    block: Bytes,
    part: Option<Part>,
    count: Count,
    last: Option<Vec<u8>>,
    /// Tallies of the parts that were read.
    pub(crate) tallies: Vec<(Part, Tally)>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn open(from: R) -> Result<(Reader<R>, Manifest), ReadError> {
        let mut reader = Reader {
            from,
            hash: Sha256::new(),
            at: 0,
            block: Bytes::new(),
            part: None,
            count: Count::default(),
            last: None,
            tallies: Vec::new(),
        };
        let mut line = [0; FIRST_LINE.len()];
        match reader.fill(&mut line) {
            Err(ReadError::Short { .. }) => return Err(ReadError::NotABackup),
            read => read?,
        }
        if line != *FIRST_LINE {
            let version = line.strip_prefix(MAGIC).and_then(|version| version.first());
            let newer = version.is_some_and(|version| (b'2'..=b'9').contains(version));
            return Err(if newer { ReadError::Newer } else { ReadError::NotABackup });
        }
        let manifest = match reader.frame()? {
            (Kind::Manifest, payload) => reader.parse(&payload)?,
            (Kind::Failure, why) => {
                return Err(ReadError::Failed(String::from_utf8_lossy(&why).into_owned()));
            }
            _ => return Err(reader.damaged("the manifest is missing")),
        };
        Ok((reader, manifest))
    }

    /// Bytes that were read.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// What comes next, behind the rest of the part that is being read.
    pub(crate) fn next(&mut self) -> Result<Event, ReadError> {
        while self.part.is_some() {
            self.record()?;
        }
        let before = self.hash.clone();
        match self.frame()? {
            (Kind::Place, payload) => Ok(Event::Place(self.parse(&payload)?)),
            (Kind::Begin, payload) => {
                let part: Part = self.parse(&payload)?;
                if self.tallies.iter().any(|(known, _)| *known == part) {
                    return Err(self.damaged("a part is there twice"));
                }
                (self.part, self.count, self.last) = (Some(part.clone()), Count::default(), None);
                Ok(Event::Begin(part))
            }
            (Kind::Finish, payload) => {
                let Finish { sha256 } = self.parse(&payload)?;
                if hex(&before.finalize()) != sha256 {
                    return Err(self.damaged("the hash of the whole file does not match"));
                }
                match self.from.read(&mut [0]) {
                    Ok(0) => Ok(Event::Finish(sha256)),
                    Ok(_) => Err(self.damaged("something follows its end")),
                    Err(error) => Err(ReadError::Io(error)),
                }
            }
            (Kind::Failure, why) => Err(ReadError::Failed(String::from_utf8_lossy(&why).into_owned())),
            _ => Err(self.damaged("a frame is out of place")),
        }
    }

    /// The next record of the part that is being read; `None` at its end.
    pub(crate) fn record(&mut self) -> Result<Option<RawRecord>, ReadError> {
        if self.part.is_none() {
            return Ok(None);
        }
        if self.block.is_empty() {
            match self.frame()? {
                (Kind::Records, block) => self.block = block,
                (Kind::End, payload) => {
                    let tally: Tally = self.parse(&payload)?;
                    if std::mem::take(&mut self.count).tally() != tally {
                        return Err(self.damaged("its records are not those that were written"));
                    }
                    let part = self.part.take();
                    self.tallies.extend(part.map(|part| (part, tally)));
                    return Ok(None);
                }
                (Kind::Failure, why) => {
                    return Err(ReadError::Failed(String::from_utf8_lossy(&why).into_owned()));
                }
                _ => return Err(self.damaged("a frame is out of place")),
            }
        }
        let (key, value) = (self.take()?, self.take()?);
        if self.last.as_deref().is_some_and(|last| *last >= *key) {
            return Err(self.damaged("records are not in order"));
        }
        self.count.add(&key, &value);
        let key = key.to_vec();
        self.last.get_or_insert_default().clone_from(&key);
        Ok(Some((key, value)))
    }

    fn take(&mut self) -> Result<Bytes, ReadError> {
        let len = self.block.first_chunk().map(|len| u32::from_be_bytes(*len) as usize);
        match len {
            Some(len) if len <= self.block.len() - 4 => {
                let mut bytes = self.block.split_to(4 + len);
                Ok(bytes.split_off(4))
            }
            _ => Err(self.damaged("a record is malformed")),
        }
    }

    /// The next frame, unpacked.
    fn frame(&mut self) -> Result<(Kind, Bytes), ReadError> {
        let begin = self.at;
        let damaged = |reader: &Self, what| ReadError::Damaged { at: begin, part: reader.part.clone(), what };
        let mut head = [0; FRAME_HEADER];
        self.fill(&mut head)?;
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (len, unpacked) = (number(1) as usize, number(5) as usize);
        if len.max(unpacked) > PAYLOAD_MAX {
            return Err(damaged(self, "a length is impossible"));
        }
        let mut payload = vec![0; len];
        self.fill(&mut payload)?;
        if header(head[0], &payload, number(5)) != head {
            return Err(damaged(self, "the checksum does not match"));
        }
        let kind = Kind::of(head[0]).ok_or_else(|| damaged(self, "a frame of an unknown kind"))?;
        if len == unpacked {
            return Ok((kind, payload.into()));
        }
        match lz4_flex::block::decompress(&payload, unpacked) {
            Ok(payload) if payload.len() == unpacked => Ok((kind, payload.into())),
            _ => Err(damaged(self, "it cannot be unpacked")),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), ReadError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.from.read(&mut bytes[filled..]) {
                Ok(0) => return Err(ReadError::Short { at: self.at, part: self.part.clone() }),
                Ok(read) => {
                    self.hash.update(&bytes[filled..filled + read]);
                    self.at += read as u64;
                    filled += read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadError::Io(error)),
            }
        }
        Ok(())
    }

    fn parse<T: for<'a> Deserialize<'a>>(&self, payload: &[u8]) -> Result<T, ReadError> {
        serde_json::from_slice(payload).map_err(|_| self.damaged("a frame is malformed"))
    }

    fn damaged(&self, what: &'static str) -> ReadError {
        ReadError::Damaged { at: self.at, part: self.part.clone(), what }
    }
}

#[cfg(test)]
mod tests;

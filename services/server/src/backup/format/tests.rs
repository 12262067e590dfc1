//! The form, and what damage does to it.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

/// Records by key, of a part each.
type Parts = Vec<std::collections::BTreeMap<Vec<u8>, Vec<u8>>>;

fn manifest() -> Manifest {
    Manifest { program: "1".into(), created_at: "2026-01-01T00:00:00Z".into(), stores: vec!["stock".into()] }
}

fn place() -> StorePlace {
    StorePlace::new("stock", Place { group: 7, hash: [0xa5; 32], forgotten: 3 })
}

fn write(parts: &Parts) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, &manifest()).unwrap();
    writer.place(&place()).unwrap();
    for (number, records) in parts.iter().enumerate() {
        writer.begin(&Part::of("stock", &number.to_string())).unwrap();
        for (key, value) in records {
            writer.record(key, value).unwrap();
        }
        writer.end().unwrap();
    }
    writer.finish().unwrap();
    file
}

fn read(file: &[u8]) -> Result<Parts, ReadError> {
    let (mut reader, found) = Reader::open(file)?;
    assert_eq!(found, manifest());
    let mut parts = Parts::new();
    loop {
        match reader.next()? {
            Event::Place(found) => {
                assert_eq!(found, place());
                assert_eq!(found.place(), Some(Place { group: 7, hash: [0xa5; 32], forgotten: 3 }));
            }
            Event::Begin(_) => {
                let mut records = std::collections::BTreeMap::new();
                while let Some((key, value)) = reader.record()? {
                    records.insert(key, value.to_vec());
                }
                parts.push(records);
            }
            Event::Finish(_) => return Ok(parts),
        }
    }
}

fn sample() -> Vec<u8> {
    let record = |number: u8| (vec![number; 5], vec![number; 40]);
    write(&vec![(0..9).map(record).collect(), (0..3).map(record).collect()])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(
        parts in vec(btree_map(vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..60_000), 0..30), 0..4)
    ) {
        prop_assert_eq!(read(&write(&parts)).unwrap(), parts);
    }

    /// Bytes that nobody wrote are an error, never a panic, and cost no more memory than a frame.
    #[test]
    fn any_bytes_can_be_read(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
        prop_assert!(read(&[FIRST_LINE, &bytes].concat()).is_err());
        let framed = |kind: u8| [header(kind, &bytes, 1000).as_slice(), &bytes].concat();
        let file = sample();
        let begin = file.iter().position(|byte| *byte == b'P').unwrap();
        for (kind, _) in Kind::ALL {
            prop_assert!(read(&[FIRST_LINE, &framed(kind)].concat()).is_err());
            prop_assert!(read(&[&file[..begin], &framed(kind)].concat()).is_err());
        }
    }
}

#[test]
fn a_file_is_refused_wherever_a_bit_of_it_is_flipped() {
    let file = sample();
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            let error = read(&damaged).expect_err("damaged");
            match error {
                ReadError::NotABackup | ReadError::Newer => assert!(at < FIRST_LINE.len(), "{at}: {error}"),
                ReadError::Damaged { at: told, .. } | ReadError::Short { at: told, .. } => {
                    assert!(told <= file.len() as u64, "{at}: {error}");
                    assert!(FIRST_LINE.len() <= at, "{at}: {error}");
                }
                error => panic!("{at}: {error}"),
            }
        }
    }
}

#[test]
fn a_file_is_refused_wherever_it_is_cut() {
    let file = sample();
    for at in 0..file.len() {
        match read(&file[..at]).expect_err("cut") {
            ReadError::NotABackup => assert!(at < FIRST_LINE.len()),
            ReadError::Short { at: told, .. } => assert_eq!(told, at as u64),
            error => panic!("{at}: {error}"),
        }
    }
    assert!(matches!(read(&[&file[..], b"more"].concat()), Err(ReadError::Damaged { .. })));
}

/// Frames that are whole and out of place: a part left out, put twice, in another order, from another file.
#[test]
fn frames_that_were_moved_are_found() {
    let file = sample();
    let mut frames = Vec::new();
    let mut at = FIRST_LINE.len();
    while at < file.len() {
        let len = u32::from_be_bytes(file[at + 1..at + 5].try_into().unwrap()) as usize + FRAME_HEADER;
        frames.push(&file[at..at + len]);
        at += len;
    }
    let joined = |frames: &[&[u8]]| [FIRST_LINE, &frames.concat()].concat();
    assert!(read(&joined(&frames)).is_ok());
    for one in 0..frames.len() {
        let without: Vec<_> = [&frames[..one], &frames[one + 1..]].concat();
        assert!(read(&joined(&without)).is_err(), "frame {one} is left out");
        let twice: Vec<_> = [&frames[..=one], &frames[one..]].concat();
        assert!(read(&joined(&twice)).is_err(), "frame {one} is there twice");
        for other in one + 1..frames.len() {
            let mut swapped = frames.clone();
            swapped.swap(one, other);
            if frames[one] != frames[other] {
                assert!(read(&joined(&swapped)).is_err(), "frames {one} and {other} are swapped");
            }
        }
    }
}

#[test]
fn damage_is_named_with_its_place() {
    let file = sample();
    let mut damaged = file.clone();
    let records = file.iter().position(|byte| *byte == b'R').unwrap();
    damaged[records + FRAME_HEADER + 3] ^= 1;
    assert_eq!(
        read(&damaged).unwrap_err().to_string(),
        format!("is damaged at byte {records}, in 'stock/0': the checksum does not match")
    );
    let text = read(&file[..records + 2]).unwrap_err().to_string();
    assert_eq!(text, format!("is not whole: it ends at byte {}, in 'stock/0'", records + 2));
    let newer = [b"cargo-pilot backup 2\n", &file[FIRST_LINE.len()..]].concat();
    assert!(read(&newer).unwrap_err().to_string().contains("newer version"));
}

#[test]
fn whoever_cannot_go_on_says_why() {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, &manifest()).unwrap();
    writer.begin(&Part::files()).unwrap();
    writer.record(b"key", b"value").unwrap();
    writer.fail("the disk is gone").unwrap();
    assert_eq!(read(&file).unwrap_err().to_string(), "is not whole: the disk is gone");
}

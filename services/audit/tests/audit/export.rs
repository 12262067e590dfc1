//! The exported file, checked by somebody who shares no code with the writer.

use audit_verifier::{Fault, Key, Report, check, continues, read_checkpoint};
use rpc::AccessLog as _;

use crate::world::{World, ctx, tenant};

async fn keys(world: &World) -> (Key, Key) {
    let [log, witness] = world.audit.app().checkpoint(tenant(1)).await.unwrap().keys;
    (Key::of_log(&log).unwrap(), Key::of_witness(&witness).unwrap())
}

async fn filled() -> World {
    let world = World::new(true);
    for number in 1..6 {
        World::count(&world.apples, tenant(1), number, "key_a", 0..60).await;
        world.catch_up().await;
    }
    world
}

/// Contents, leaves, tiles and signatures of a file fit each other, and a later file continues an earlier one.
#[tokio::test]
async fn an_exported_log_verifies() {
    let world = filled().await;
    let (log, witness) = keys(&world).await;
    let early = world.export(tenant(1)).await;
    World::count(&world.pears, tenant(1), 1, "key_b", 0..700).await;
    let app = world.audit.app();
    assert!(app.record(&ctx(tenant(1), "key_c"), "/a/B", "a.b", rpc::Access::Denied).await);
    world.catch_up().await;
    let late = world.export(tenant(1)).await;

    let early = check(&*early, &log, &witness).unwrap();
    let late = check(&*late, &log, &witness).unwrap();
    assert_eq!((early.head.size, early.journals), (300, 5));
    assert_eq!((late.head.size, late.journals), (1001, 7));
    assert_eq!(continues(&late, &early.head), Ok(()));
    let Err(Fault::Wrong(why)) = continues(&early, &late.head) else { panic!("it was set back") };
    assert!(why.contains("set back"), "{why}");
    // A log without entries is a file too.
    let nothing = World::new(true);
    let (log, witness) = keys(&nothing).await;
    let empty = check(&*nothing.export(tenant(1)).await, &log, &witness).unwrap();
    assert_eq!(empty.head.size, 0);
    assert_eq!(continues(&late, &empty.head), Ok(()));
}

#[tokio::test]
async fn a_file_is_of_one_log_and_its_keys() {
    let world = filled().await;
    let (log, witness) = keys(&world).await;
    let file = world.export(tenant(1)).await;
    let other = World::new(true).audit.app().checkpoint(tenant(2)).await.unwrap();
    let [other_log, other_witness] = other.keys;
    assert!(check(&*file, &Key::of_log(&other_log).unwrap(), &witness).is_err());
    assert!(
        check(&*file, &log, &Key::of_witness(&other_witness).unwrap()).is_ok(),
        "one witness for all logs"
    );
    for text in ["", "a+b+c", &other_witness, &other_log.replace("audit", "audiT")] {
        assert!(Key::of_log(text).is_err(), "{text}");
    }
    // A checkpoint by itself, as it was handed out once.
    let note = world.audit.app().checkpoint(tenant(1)).await.unwrap().note;
    assert_eq!(read_checkpoint(&note, &log, &witness).unwrap().size, 300);
}

/// A random number generator that is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// Where the sections of a file begin, its end too.
fn sections(file: &[u8]) -> Vec<usize> {
    let mut at = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut starts = vec![at];
    while file[at..] != *b"end\n" {
        let line = at + file[at..].iter().position(|byte| *byte == b'\n').unwrap();
        let length = std::str::from_utf8(&file[at..line]).unwrap().rsplit(' ').next().unwrap();
        at = line + 1 + length.parse::<usize>().unwrap();
        starts.push(at);
    }
    starts
}

/// One way to change a file; an older export is one of them.
fn edit(file: &[u8], older: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut changed = file.to_vec();
    let at = random.below(file.len());
    let starts = sections(file);
    let section = |number: usize| starts[number]..starts[number + 1];
    match random.below(10) {
        0 => changed[at] ^= 1 << random.below(8),
        1 => changed[at] = changed[at].wrapping_add(1 + u8::try_from(random.below(255)).unwrap()),
        2 => drop(changed.drain(at..(at + 1 + random.below(40)).min(file.len()))),
        3 => changed.truncate(at),
        4 => changed.insert(at, u8::try_from(random.below(256)).unwrap()),
        5 => {
            let more: Vec<u8> =
                (0..=random.below(40)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
            changed.splice(at..at, more);
        }
        6 => {
            // Two sections change places.
            let (one, other) = (random.below(starts.len() - 1), random.below(starts.len() - 1));
            let (one, other) = (section(one.min(other)), section(one.max(other)));
            if one != other {
                let mut swapped = file[..one.start].to_vec();
                swapped.extend_from_slice(&file[other.clone()]);
                swapped.extend_from_slice(&file[one.end..other.start]);
                swapped.extend_from_slice(&file[one]);
                swapped.extend_from_slice(&file[other.end..]);
                changed = swapped;
            }
        }
        7 => drop(changed.drain(section(random.below(starts.len() - 1)))),
        8 => {
            // A section stands twice.
            let copied = file[section(random.below(starts.len() - 1))].to_vec();
            let to = starts[random.below(starts.len())];
            changed.splice(to..to, copied);
        }
        _ => changed.clone_from(&older[random.below(older.len())]),
    }
    changed
}

/// The file is set back, or its bytes are flipped, exchanged, cut out, put in, or moved, in 10,000 ways: each is
/// found by whoever has the keys and knows the newest checkpoint.
#[tokio::test]
async fn ten_thousand_edits_are_found() {
    // Most of them on a small log, which is checked sooner.
    edits_are_found(&[1, 2, 4], 10, 9_000).await;
    edits_are_found(&[3, 20, 234, 8], 269, 1_000).await;
}

async fn edits_are_found(entries: &[u64], size: u64, count: usize) {
    let world = World::new(true);
    let mut older = Vec::new();
    for entries in entries {
        older.push(world.export(tenant(1)).await);
        World::count(&world.apples, tenant(1), 1, "key_a", 0..*entries).await;
        World::count(&world.pears, tenant(1), 1, "key_b", [1]).await;
        world.catch_up().await;
    }
    let (log, witness) = keys(&world).await;
    let file = world.export(tenant(1)).await;
    let head = check(&*file, &log, &witness).unwrap().head;
    assert_eq!(head.size, size);

    let verdict =
        |file: &[u8]| check(file, &log, &witness).and_then(|report: Report| continues(&report, &head));
    assert_eq!(verdict(&file), Ok(()));
    let (mut random, mut edits) = (Random(4), 0);
    while edits < count {
        let changed = edit(&file, &older, &mut random);
        if changed == file {
            continue;
        }
        edits += 1;
        let found = verdict(&changed);
        assert!(matches!(found, Err(Fault::Wrong(_))), "edit {edits} was not found");
    }
}

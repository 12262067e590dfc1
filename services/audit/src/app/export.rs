//! Hands a log out as one file that is checked without us.
//!
//! The file is a line that names its format, sections, and the line `end`. A section is a line
//! `path length`, then as many bytes. Their order follows from the checkpoint, so that no byte is free:
//!
//! | path | bytes |
//! |---|---|
//! | `checkpoint` | the signed note |
//! | `tile/entries/N` | a bundle: its leaves, each behind its length (2 bytes, big-endian) |
//! | `payload/I` for each leaf of the bundle | 16 bytes of salt, then the entry as its journal stores it; no bytes if it is gone |
//! | `tile/0/N` | the hashes of the bundle's leaves |
//! | `tile/L/N` | behind all bundles: the tiles of the levels above |
//!
//! `checkpoint`, `tile/entries` and `tile` are those of c2sp.org/tlog-tiles.

use ids::TenantId;
use rpc::{Ctx, PageToken, Refused};

use crate::Error;
use crate::app::App;
use crate::domain::leaf::Leaf;
use crate::domain::merkle::leaf_hash;
use crate::domain::tile::{self, Tile, WIDTH};

/// The first line.
const FORMAT: &str = "cargo-pilot audit export 1\n";
/// The last line.
const END: &str = "end\n";
/// A part ends behind the section with which it reaches this size.
const PART_BYTES: usize = 1024 * 1024;
const SCOPE: &str = "audit-export";

/// A part of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The next bytes.
    pub data: Vec<u8>,
    /// Where the file goes on; empty at its end.
    pub next: String,
}

/// Where a file goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Position {
    /// Leaves of the checkpoint with which it began.
    size: u64,
    /// The next leaf.
    leaf: u64,
    /// The next tile above level 0, counted.
    tile: u64,
}

impl Position {
    fn bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.size.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.leaf.to_be_bytes());
        bytes[16..].copy_from_slice(&self.tile.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Position> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let [size, leaf, tile] = numbers else { return None };
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        rest.is_empty().then(|| Position { size: number(size), leaf: number(leaf), tile: number(tile) })
    }
}

fn section(file: &mut Vec<u8>, path: &str, bytes: &[u8]) {
    file.extend_from_slice(format!("{path} {}\n", bytes.len()).as_bytes());
    file.extend_from_slice(bytes);
}

impl App {
    /// Hands out the next part of a file; without a token the first one, with a new checkpoint.
    ///
    /// # Errors
    /// A token that does not belong here, or the journals.
    pub async fn export(&self, ctx: &Ctx, token: &str) -> Result<Part, Error> {
        let mut data = Vec::new();
        let mut position = match PageToken::open(ctx, SCOPE, token)? {
            Some(bytes) => Position::read(&bytes).ok_or(Refused::PageTokenInvalid)?,
            None => {
                let signed = self.checkpoint(ctx.tenant).await?;
                data.extend_from_slice(FORMAT.as_bytes());
                section(&mut data, "checkpoint", signed.note.as_bytes());
                Position { size: signed.checkpoint.size, leaf: 0, tile: 0 }
            }
        };
        while data.len() < PART_BYTES && position.leaf < position.size {
            position = self.bundle_part(ctx.tenant, position, &mut data).await?;
        }
        let tiles = tile::upper(position.size).skip(usize::try_from(position.tile).unwrap_or(usize::MAX));
        for above in tiles {
            if PART_BYTES <= data.len() {
                break;
            }
            let hashes = self.tile(ctx.tenant, above, position.size).await?;
            section(&mut data, &above.path(above.width(position.size)), &hashes.concat());
            position.tile += 1;
        }
        let left = u64::try_from(tile::upper(position.size).count()).unwrap_or(u64::MAX);
        if position.leaf == position.size && position.tile == left {
            data.extend_from_slice(END.as_bytes());
            return Ok(Part { data, next: String::new() });
        }
        Ok(Part { data, next: PageToken::seal(ctx, SCOPE, &position.bytes()) })
    }

    /// Writes what is left of a bundle, or as much as fits.
    async fn bundle_part(
        &self,
        tenant: TenantId,
        mut position: Position,
        data: &mut Vec<u8>,
    ) -> Result<Position, Error> {
        let bundle = Tile { level: 0, index: position.leaf / WIDTH };
        let width = bundle.width(position.size);
        let leaves = self.bundle(tenant, bundle.index, position.size).await?;
        let encoded: Vec<Vec<u8>> = leaves.iter().map(Leaf::encode).collect();
        let skip = usize::try_from(position.leaf % WIDTH).unwrap_or(0);
        if skip == 0 {
            let mut entries = Vec::new();
            for leaf in &encoded {
                entries.extend_from_slice(&u16::try_from(leaf.len()).expect("a leaf is short").to_be_bytes());
                entries.extend_from_slice(leaf);
            }
            section(data, &tile::path("tile/entries", bundle.index, width), &entries);
        }
        let salts = self.salts(tenant, bundle.index, leaves.len()).await?;
        // Few at a time: a payload may be large.
        for (salts, leaves) in salts[skip..].chunks(16).zip(leaves[skip..].chunks(16)) {
            for (salt, payload) in salts.iter().zip(self.payloads(tenant, leaves).await?) {
                let whole = salt.zip(payload).map(|(salt, payload)| [salt.as_slice(), &payload].concat());
                section(data, &format!("payload/{}", position.leaf), &whole.unwrap_or_default());
                position.leaf += 1;
                if PART_BYTES <= data.len()
                    && !position.leaf.is_multiple_of(WIDTH)
                    && position.leaf < position.size
                {
                    return Ok(position);
                }
            }
        }
        let hashes: Vec<u8> = encoded.iter().flat_map(|leaf| leaf_hash(leaf)).collect();
        section(data, &bundle.path(width), &hashes);
        Ok(position)
    }
}

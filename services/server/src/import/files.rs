//! The files of an import, and their rows.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::cli::Failure;

/// Bytes read from a file at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Products,
    Locations,
    Opening,
    Sales,
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [Kind::Products, Kind::Locations, Kind::Opening, Kind::Sales];

    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Kind::Products => "products.csv",
            Kind::Locations => "locations.csv",
            Kind::Opening => "opening.csv",
            Kind::Sales => "sales.csv",
        }
    }

    /// The columns, in any order in the file; those with `?` may be absent.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        match self {
            Kind::Products => {
                &["sku", "name", "brand?", "category?", "base_unit?", "quantity_scale?", "barcode?"]
            }
            Kind::Locations => &["code", "name"],
            Kind::Opening => &[
                "source_id",
                "line_id",
                "sku",
                "location",
                "quantity",
                "total_cost",
                "currency",
                "occurred_at",
            ],
            Kind::Sales => &[
                "basket_id",
                "line_id",
                "sku",
                "location",
                "quantity",
                "sales_value?",
                "currency?",
                "occurred_at",
            ],
        }
    }
}

/// The files that were found.
#[derive(Debug, Default)]
pub(crate) struct Files(Vec<(Kind, PathBuf)>);

impl Files {
    /// Finds the files by their names, in folders or named one by one.
    pub(crate) fn find(paths: &[PathBuf]) -> Result<Files, Failure> {
        let mut files = Files::default();
        for path in paths {
            if path.is_dir() {
                for kind in Kind::ALL {
                    let file = path.join(kind.file_name());
                    if file.is_file() {
                        files.add(kind, file)?;
                    }
                }
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.file_name() == name) else {
                let known = Kind::ALL.map(Kind::file_name).join(", ");
                return Err(Failure::Usage(format!("'{}' is none of {known}", path.display())));
            };
            if !path.is_file() {
                return Err(Failure::Usage(format!("there is no file '{}'", path.display())));
            }
            files.add(kind, path.clone())?;
        }
        if files.0.is_empty() {
            let known = Kind::ALL.map(Kind::file_name).join(", ");
            return Err(Failure::Usage(format!("none of {known} is in the folders that were named")));
        }
        Ok(files)
    }

    fn add(&mut self, kind: Kind, path: PathBuf) -> Result<(), Failure> {
        if let Some(other) = self.path(kind) {
            let (one, two) = (other.display(), path.display());
            return Err(Failure::Usage(format!(
                "'{one}' and '{two}' hold the same: import one after the other"
            )));
        }
        self.0.push((kind, path));
        Ok(())
    }

    pub(crate) fn path(&self, kind: Kind) -> Option<&Path> {
        self.0.iter().find(|(found, _)| *found == kind).map(|(_, path)| path.as_path())
    }

    /// Size of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().filter_map(|(_, path)| path.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Opens a file and finds its columns.
    pub(crate) fn open(&self, kind: Kind) -> Result<Option<Reader>, Failure> {
        self.path(kind).map(|path| Reader::open(kind, path)).transpose()
    }
}

/// Reads the rows of one file.
pub(crate) struct Reader {
    pub(crate) path: PathBuf,
    csv: csv::Reader<BufReader<File>>,
    columns: Vec<Option<usize>>,
    kind: Kind,
    record: csv::StringRecord,
}

/// One row: its line in the file and its fields.
pub(crate) struct Row<'a> {
    pub(crate) line: u64,
    reader: &'a Reader,
}

impl Reader {
    fn open(kind: Kind, path: &Path) -> Result<Reader, Failure> {
        let shown = path.display();
        let file = File::open(path).map_err(|error| Failure::Machine(format!("'{shown}': {error}")))?;
        let mut csv = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(BufReader::with_capacity(BUFFER_BYTES, file));
        let headers = csv.headers().map_err(|error| Failure::Data(format!("'{shown}': {error}")))?;
        let position = |column: &str| {
            let bare = column.trim_end_matches('?');
            headers.iter().position(|header| header.trim_start_matches('\u{feff}').eq_ignore_ascii_case(bare))
        };
        let columns: Vec<_> = kind.columns().iter().map(|column| position(column)).collect();
        for (column, at) in kind.columns().iter().zip(&columns) {
            if at.is_none() && !column.ends_with('?') {
                return Err(Failure::Data(format!("'{shown}' has no column '{column}'")));
            }
        }
        Ok(Reader { path: path.to_owned(), csv, columns, kind, record: csv::StringRecord::new() })
    }

    /// The next row; `Err` with its line for one that cannot be read at all.
    pub(crate) fn next(&mut self) -> Option<Result<Row<'_>, (u64, String)>> {
        match self.csv.read_record(&mut self.record) {
            Ok(false) => None,
            Ok(true) => {
                let line = self.record.position().map_or(0, csv::Position::line);
                Some(Ok(Row { line, reader: self }))
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                Some(Err((line, error.to_string())))
            }
        }
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.csv.position().byte()
    }
}

impl Row<'_> {
    /// A field by the name of its column; empty if the file has no such column.
    pub(crate) fn get(&self, column: &str) -> &str {
        let known = self.reader.kind.columns().iter().position(|name| name.trim_end_matches('?') == column);
        let at = known.and_then(|known| self.reader.columns[known]);
        at.and_then(|at| self.reader.record.get(at)).unwrap_or_default()
    }
}

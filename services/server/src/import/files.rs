//! The files of an import, and their rows.

use std::fs::File;
use std::io::{self, Chain, Read as _};
use std::path::{Path, PathBuf};

use csv::{ByteRecord, StringRecord};

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
    /// In the order in which they are imported.
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
        let known = Kind::ALL.map(Kind::file_name).join(", ");
        let mut files = Files::default();
        for path in paths {
            let shown = path.display();
            let found = path.metadata();
            let found = found.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    Failure::Usage(format!("there is no file or folder '{shown}': see how it is spelt"))
                }
                _ => Failure::Machine(format!("'{shown}' cannot be read: {error}")),
            })?;
            if found.is_dir() {
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
                return Err(Failure::Usage(format!(
                    "'{shown}' is none of {known}: the name of a file says what is in it"
                )));
            };
            files.add(kind, path.clone())?;
        }
        if files.0.is_empty() {
            return Err(Failure::Usage(format!("none of {known} is in the folders that were named")));
        }
        Ok(files)
    }

    fn add(&mut self, kind: Kind, path: PathBuf) -> Result<(), Failure> {
        if let Some(other) = self.path(kind) {
            let (one, two) = (other.display(), path.display());
            return Err(Failure::Usage(format!(
                "'{one}' and '{two}' hold the same kind of rows: import one after the other"
            )));
        }
        self.0.push((kind, path));
        Ok(())
    }

    fn path(&self, kind: Kind) -> Option<&Path> {
        self.0.iter().find(|(found, _)| *found == kind).map(|(_, path)| path.as_path())
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.path(kind).is_some()
    }

    /// Whether something is to be posted.
    pub(crate) fn have_movements(&self) -> bool {
        self.has(Kind::Opening) || self.has(Kind::Sales)
    }

    /// Size of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().filter_map(|(_, path)| path.metadata().ok()).map(|file| file.len()).sum()
    }

    /// Opens a file and reads its header.
    pub(crate) fn open(&self, kind: Kind) -> Result<Option<Reader>, Failure> {
        self.path(kind).map(|path| Reader::open(kind, path)).transpose()
    }
}

/// What is wrong at a place of a file, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) column: String,
    pub(crate) reason: String,
}

impl Wrong {
    pub(crate) fn new(column: &str, reason: impl Into<String>) -> Wrong {
        Wrong { column: column.to_owned(), reason: reason.into() }
    }
}

/// Reads the rows of one file.
pub(crate) struct Reader {
    pub(crate) path: PathBuf,
    /// A line break is added, so that every row ends in one.
    csv: csv::Reader<Chain<File, &'static [u8]>>,
    header: StringRecord,
    /// What is wrong with the header. Without it nothing can be said of the rows.
    pub(crate) header_faults: Vec<Wrong>,
    /// Where each of the kind's columns is.
    columns: Vec<Option<usize>>,
    kind: Kind,
    record: StringRecord,
}

/// One row: its line in the file and its fields.
pub(crate) struct Row<'a> {
    pub(crate) line: u64,
    reader: &'a Reader,
}

/// A row that cannot be taken apart.
pub(crate) struct Unreadable {
    pub(crate) line: u64,
    pub(crate) wrong: Wrong,
}

/// Where a record begins, and its first field that is not UTF-8.
struct Place {
    line: u64,
    undecoded: Option<usize>,
}

impl Reader {
    fn open(kind: Kind, path: &Path) -> Result<Reader, Failure> {
        let file = File::open(path)
            .map_err(|error| Failure::Machine(format!("'{}' cannot be read: {error}", path.display())))?;
        let csv = csv::ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            // A carriage return before it is white space at the end of a field. The default would count the
            // lines of such files wrong.
            .terminator(csv::Terminator::Any(b'\n'))
            .buffer_capacity(BUFFER_BYTES)
            .from_reader(file.chain(&b"\n"[..]));
        let mut reader = Reader {
            path: path.to_owned(),
            csv,
            header: StringRecord::new(),
            header_faults: Vec::new(),
            columns: Vec::new(),
            kind,
            record: StringRecord::new(),
        };
        match reader.read()? {
            None => {}
            Some(Place { undecoded: Some(_), .. }) => {
                let what = "is not UTF-8: save the file as CSV with encoding UTF-8";
                reader.header_faults.push(Wrong::new("row", what));
                return Ok(reader);
            }
            Some(_) => reader.header = std::mem::take(&mut reader.record),
        }
        reader.read_header();
        Ok(reader)
    }

    fn read_header(&mut self) {
        let names: Vec<String> = self
            .header
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim().to_ascii_lowercase())
            .collect();
        let separator = names.first().filter(|_| names.len() == 1).and_then(|name| name.find([';', '\t']));
        if separator.is_some() {
            let what = "the columns must be separated by commas";
            return self.header_faults.push(Wrong::new("row", what));
        }
        let known: Vec<&str> =
            self.kind.columns().iter().map(|column| column.trim_end_matches('?')).collect();
        for (at, column) in known.iter().enumerate() {
            let found = names.iter().position(|name| name == column);
            self.columns.push(found);
            if found.is_none() && !self.kind.columns()[at].ends_with('?') {
                self.header_faults.push(Wrong::new(column, "the column is missing"));
            }
        }
        for (at, name) in names.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let columns = known.join(", ");
                self.header_faults.push(Wrong::new(name, format!("is none of the columns {columns}")));
            } else if names[..at].contains(name) {
                self.header_faults.push(Wrong::new(name, "the column is there twice"));
            }
        }
    }

    /// The next row.
    pub(crate) fn next(&mut self) -> Result<Option<Result<Row<'_>, Unreadable>>, Failure> {
        let Some(Place { line, undecoded }) = self.read()? else { return Ok(None) };
        if let Some(field) = undecoded {
            let column = self.header.get(field).map_or("row", str::trim);
            return Ok(Some(Err(Unreadable { line, wrong: Wrong::new(column, "is not UTF-8") })));
        }
        let (fields, columns) = (self.record.len(), self.header.len());
        if fields != columns {
            let what = format!("has {fields} fields, the header has {columns}");
            return Ok(Some(Err(Unreadable { line, wrong: Wrong::new("row", what) })));
        }
        Ok(Some(Ok(Row { line, reader: self })))
    }

    /// Reads into `record`, if it is UTF-8.
    fn read(&mut self) -> Result<Option<Place>, Failure> {
        let mut bytes = std::mem::take(&mut self.record).into_byte_record();
        loop {
            let more = self.csv.read_byte_record(&mut bytes);
            let more = more.map_err(|error| {
                Failure::Machine(format!("'{}' cannot be read: {error}", self.path.display()))
            })?;
            if !more {
                return Ok(None);
            }
            if !is_blank(&bytes) {
                break;
            }
        }
        // Its position is that of blank lines before it. What ended is one line break behind its content.
        let first = bytes.position().map_or(0, csv::Position::line);
        let breaks = bytes.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let line = first.max(self.csv.position().line().saturating_sub(1 + breaks));
        match StringRecord::from_byte_record(bytes) {
            Ok(record) => {
                self.record = record;
                Ok(Some(Place { line, undecoded: None }))
            }
            Err(error) => Ok(Some(Place { line, undecoded: Some(error.utf8_error().field()) })),
        }
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.csv.position().byte()
    }
}

fn is_blank(record: &ByteRecord) -> bool {
    record.len() <= 1 && record.as_slice().trim_ascii().is_empty()
}

impl Row<'_> {
    /// A field by the name of its column, without white space around it; empty if the file has no such
    /// column.
    pub(crate) fn get(&self, column: &str) -> &str {
        let known = self.reader.kind.columns().iter().position(|name| name.trim_end_matches('?') == column);
        let at = known.and_then(|known| self.reader.columns[known]);
        at.and_then(|at| self.reader.record.get(at)).unwrap_or_default().trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines, and what `name` is there or what is wrong.
    fn rows(bytes: &[u8]) -> Vec<(u64, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locations.csv");
        std::fs::write(&path, bytes).unwrap();
        let mut reader = Reader::open(Kind::Locations, &path).unwrap();
        assert_eq!(reader.header_faults, []);
        let mut rows = Vec::new();
        while let Some(row) = reader.next().unwrap() {
            rows.push(match row {
                Ok(row) => (row.line, format!("{}={}", row.get("code"), row.get("name"))),
                Err(Unreadable { line, wrong }) => (line, format!("{} {}", wrong.column, wrong.reason)),
            });
        }
        rows
    }

    #[test]
    #[rustfmt::skip] // columns
    fn rows_are_numbered_as_an_editor_does() {
        fn check(bytes: &[u8], expected: &[(u64, &str)]) {
            let expected: Vec<_> = expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
            assert_eq!(rows(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
        check(b"code,name\n1,a\n2,b\n",                 &[(2, "1=a"), (3, "2=b")]);
        check(b"code,name\n1,a\n2,b",                   &[(2, "1=a"), (3, "2=b")]);
        check(b"code,name\r\n1,a\r\n2,b\r\n",           &[(2, "1=a"), (3, "2=b")]);
        check(b"code,name\r\n1,\"a\"\r\n2,\"b\"",       &[(2, "1=a"), (3, "2=b")]);
        check(b"code,name\n\n1,a\n\n\n2,b\n\n",         &[(3, "1=a"), (6, "2=b")]);
        check(b"code,name\n\n\n1,a",                    &[(4, "1=a")]);
        check(b"code,name\r\n\r\n1,a\r\n  \r\n2,b",     &[(3, "1=a"), (5, "2=b")]);
        check(b"code,name\n1,\"a\nb\"\n2,\"c\n\"\n3,d", &[(2, "1=a\nb"), (4, "2=c"), (6, "3=d")]);
        check(b"code,name\r\n1,\"a\r\nb\"\r\n3,d\r\n",  &[(2, "1=a\r\nb"), (4, "3=d")]);
        check(b"\xef\xbb\xbfcode,name\n1,a\n",          &[(2, "1=a")]);
        check(b"\xef\xbb\xbf\"code\",\"name\"\n1,a\n",  &[(2, "1=a")]);
        check(b" Code , NAME \n 1 ,\ta \n",             &[(2, "1=a")]);
        check(b"name,code\n\"x,\"\"y\"\"\",1\n",        &[(2, "1=x,\"y\"")]);
        check(b"code,name\n1\n2,b,c\n3,d\n",            &[(2, "row has 1 fields, the header has 2"),
                                                          (3, "row has 3 fields, the header has 2"), (4, "3=d")]);
        check(b"code,name\n1,\xff\n\xff,b\n3,d\n",      &[(2, "name is not UTF-8"),
                                                          (3, "code is not UTF-8"), (4, "3=d")]);
        check(b"code,name\n1,\"a\n2,b\n3,c\n",          &[(2, "1=a\n2,b\n3,c")]); // a quote that does not end
        check(b"code,name\n",                           &[]);
    }

    #[test]
    fn a_header_that_is_not_ours_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locations.csv");
        let check = |bytes: &[u8], expected: &[(&str, &str)]| {
            std::fs::write(&path, bytes).unwrap();
            let found = Reader::open(Kind::Locations, &path).unwrap().header_faults;
            let expected: Vec<_> =
                expected.iter().map(|(column, reason)| Wrong::new(column, *reason)).collect();
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(bytes));
        };
        let missing = "the column is missing";
        check(b"", &[("code", missing), ("name", missing)]);
        check(b"name\n", &[("code", missing)]);
        check(b"code,nmae\n", &[("name", missing), ("nmae", "is none of the columns code, name")]);
        check(b"code,name,code\n", &[("code", "the column is there twice")]);
        check(b"code;name\n", &[("row", "the columns must be separated by commas")]);
        check(b"code\tname\n", &[("row", "the columns must be separated by commas")]);
        let utf16 = "is not UTF-8: save the file as CSV with encoding UTF-8";
        check(b"\xff\xfec\0o\0d\0e\0,\0", &[("row", utf16)]);
    }
}

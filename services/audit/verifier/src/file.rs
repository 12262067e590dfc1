//! The sections of a file: a line with name and length, then as many bytes.

use std::io::Read;

use crate::Fault;

/// The first line.
const FORMAT: &[u8] = b"cargo-pilot audit export 1\n";
/// The last line.
const END: &[u8] = b"end\n";
/// Longest line before a section.
const LINE_BYTES_MAX: usize = 120;

/// A file that is read from its beginning to its end, once.
pub(crate) struct File<R> {
    inner: R,
}

impl<R: Read> File<R> {
    /// Begins to read.
    pub(crate) fn open(inner: R) -> Result<File<R>, Fault> {
        let mut file = File { inner };
        if file.bytes(FORMAT.len())? != FORMAT {
            return Err(Fault::wrong("it is no exported audit log of this version"));
        }
        Ok(file)
    }

    /// Reads the section called `name`, which must be the next one.
    pub(crate) fn section(&mut self, name: &str, bytes_max: usize) -> Result<Vec<u8>, Fault> {
        let line = self.line(name)?;
        let length = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')).and_then(number);
        let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
            return Err(Fault::wrong(format!("'{name}' must follow, not '{}'", printable(&line))));
        };
        if bytes_max < length {
            return Err(Fault::wrong(format!(
                "'{name}' has {length} bytes, at most {bytes_max} are possible"
            )));
        }
        self.bytes(length)
    }

    /// Sees that nothing but the last line follows.
    pub(crate) fn close(mut self) -> Result<(), Fault> {
        let mut rest = Vec::new();
        let most = END.len() as u64 + 1;
        self.inner.by_ref().take(most).read_to_end(&mut rest).map_err(unreadable)?;
        if rest == END { Ok(()) } else { Err(Fault::wrong("it does not end where it must")) }
    }

    fn line(&mut self, name: &str) -> Result<String, Fault> {
        let mut line = Vec::new();
        loop {
            match self.bytes(1)?[0] {
                b'\n' => break,
                byte if line.len() < LINE_BYTES_MAX => line.push(byte),
                _ => return Err(Fault::wrong(format!("the line of '{name}' is too long"))),
            }
        }
        String::from_utf8(line).map_err(|_| Fault::wrong(format!("the line of '{name}' is no text")))
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.inner.by_ref().take(length as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() < length {
            return Err(Fault::wrong("it is cut off"));
        }
        Ok(bytes)
    }
}

fn unreadable(error: std::io::Error) -> Fault {
    Fault::Unreadable(error.to_string())
}

fn printable(line: &str) -> String {
    line.chars().take(60).flat_map(char::escape_default).collect()
}

/// A number in its one spelling: digits, no zero before others.
pub(crate) fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

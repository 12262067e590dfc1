//! A client of the REST API over one kept connection, for a server that may go away at any moment.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::process::PATIENCE;

/// Who asks, and where.
pub(crate) struct Http {
    address: String,
    key: String,
    connection: Option<BufReader<TcpStream>>,
}

impl Http {
    pub(crate) fn new(url: &str, key: &str) -> Http {
        let address = url.strip_prefix("http://").expect("plain HTTP").to_owned();
        Http { address, key: key.to_owned(), connection: None }
    }

    /// Makes one request; an error if the server is away or goes away.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        idempotency_key: &str,
        body: &Value,
    ) -> io::Result<(u16, Value)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.address)?,
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let once = match idempotency_key {
            "" => String::new(),
            key => format!("idempotency-key: {key}\r\n"),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: \
             application/json\r\n{once}content-length: {}\r\n\r\n",
            self.address,
            self.key,
            body.len()
        );
        connection.get_mut().write_all((head + &body).as_bytes())?;
        let answer = read_answer(&mut connection)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// Reads all resources of a collection, page by page; the answer if one of them is refused.
    pub(crate) fn all(&mut self, path: &str, field: &str) -> Result<Vec<Value>, (u16, Value)> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let page = format!("{path}{joint}pageSize=500&pageToken={token}");
            let away = |error: io::Error| (0, Value::from(error.to_string()));
            let (status, mut page) = self.send("GET", &page, "", &Value::Null).map_err(away)?;
            if status != 200 {
                return Err((status, page));
            }
            if let Value::Array(rows) = page[field].take() {
                all.extend(rows);
            }
            match page["nextPageToken"].as_str() {
                Some(next) if !next.is_empty() => token = next.to_owned(),
                _ => return Ok(all),
            }
        }
    }
}

fn connect(address: &str) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

fn read_answer(connection: &mut BufReader<TcpStream>) -> io::Result<(u16, Value)> {
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut line = String::new();
    let mut read_line = |connection: &mut BufReader<TcpStream>| {
        line.clear();
        connection.read_line(&mut line)?;
        // Without its end it is half a line.
        line.strip_suffix("\r\n").map(str::to_ascii_lowercase).ok_or_else(cut)
    };
    let status = read_line(connection)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let mut length = 0;
    loop {
        let header = read_line(connection)?;
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
